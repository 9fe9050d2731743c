"""``wait``, ``as_completed`` and the methods of futures, with functions of the script."""

# contexts: default fork spawn
# modes: file -c

import time
from concurrent.futures import FIRST_COMPLETED, FIRST_EXCEPTION, ProcessPoolExecutor, as_completed, wait

CONTEXT = None


def work(x):
    return x * x


def fail():
    raise KeyError("k")


def sleep(x):
    time.sleep(x)
    return x


if __name__ == "__main__":
    with ProcessPoolExecutor(2, mp_context=CONTEXT) as pool:
        futures = {pool.submit(work, x): x for x in range(5)}
        print(sorted((futures[future], future.result()) for future in as_completed(futures)))
        done, pending = wait(futures)
        print(len(done), len(pending), all(future.done() and not future.running() for future in futures))
        slow, bad = pool.submit(sleep, 0.5), pool.submit(fail)
        done, pending = wait([slow, bad], return_when=FIRST_EXCEPTION)
        print(bad in done, repr(bad.exception()), bad.cancelled())
        print(wait([slow, bad], return_when=FIRST_COMPLETED).done >= {bad})
        try:
            pool.submit(sleep, 0.5).result(timeout=0.01)
        except TimeoutError:
            print("timeout")
        try:
            list(as_completed([pool.submit(sleep, 0.5)], timeout=0.01))
        except TimeoutError as error:
            print(error)
        print(slow.result())
