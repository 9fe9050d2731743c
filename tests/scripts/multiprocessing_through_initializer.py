"""Locks, values and queues of multiprocessing handed over through ``initargs``, and kept in globals."""

# contexts: fork spawn forkserver

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None
counter = lock = queue = None


def init(a_counter, a_lock, a_queue):
    global counter, lock, queue
    counter, lock, queue = a_counter, a_lock, a_queue


def add(n):
    for _ in range(n):
        with lock:
            counter.value += 1
    queue.put(n)
    return n


if __name__ == "__main__":
    context = CONTEXT or multiprocessing
    shared = context.Value("i", 0), context.Lock(), context.SimpleQueue()
    with ProcessPoolExecutor(2, mp_context=CONTEXT, initializer=init, initargs=shared) as pool:
        print(list(pool.map(add, [10, 20, 30])))
        print(shared[0].value, sorted(shared[2].get() for _ in range(3)))
    print(counter)
