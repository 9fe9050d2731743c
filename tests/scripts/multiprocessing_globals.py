"""``Value``, ``Lock``, ``Event`` and ``Queue`` of multiprocessing as globals of the script under the fork context."""

# contexts: fork

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None
FORK = multiprocessing.get_context("fork")
counter = FORK.Value("i", 0)
lock = FORK.Lock()
event = FORK.Event()
results = FORK.SimpleQueue()


def add(n):
    for _ in range(n):
        with lock:
            counter.value += 1


def wait_and_put(x):
    event.wait(20)
    results.put(x)


if __name__ == "__main__":
    with ProcessPoolExecutor(2, mp_context=CONTEXT) as pool:
        list(pool.map(add, [50] * 4))
        print(counter.value)
        waiting = [pool.submit(wait_and_put, x) for x in range(2)]
        event.set()
        print(sorted(results.get() for _ in waiting))
        print(lock.acquire(timeout=20))
