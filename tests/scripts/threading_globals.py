"""A lock, event, condition or semaphore of ``threading`` as a global: each worker has one of its own."""

# contexts: default fork spawn tcp
# modes: file -c stdin ipython

import threading
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None

# %%
lock = threading.Lock()
recursive = threading.RLock()
event = threading.Event()
condition = threading.Condition()
semaphore = threading.BoundedSemaphore(2)
total = 0


def add(n):
    global total
    with lock, recursive, recursive, semaphore:
        total += n
    return total


def notify():
    with condition:
        condition.notify_all()
    before = event.is_set()
    event.set()
    return before, lock.locked()


class Account:
    lock = threading.Lock()

    def pay(self, n):
        with self.lock:
            return add(n)


def run_threads():
    threads = [threading.Thread(target=add, args=(1,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return total


# %%
if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(list(pool.map(add, [1, 2, 3])))
        print(pool.submit(notify).result(), pool.submit(notify).result())
        print(pool.submit(Account().pay, 10).result())
        print(pool.submit(run_threads).result())
    print(total, event.is_set())
