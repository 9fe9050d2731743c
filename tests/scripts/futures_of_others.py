"""Futures of other executors in arguments are left alone, and so cannot be pickled."""

# contexts: default fork

from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor

CONTEXT = None


def work(x):
    return x


if __name__ == "__main__":
    with ThreadPoolExecutor(1) as threads, ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        other = threads.submit(abs, -1)
        print(type(pool.submit(work, Future()).exception()).__name__)
        print(type(pool.submit(work, [{"a": (Future(),)}]).exception()).__name__)
        print(pool.submit(work, other.result()).result())
