"""A pool in the arguments of a task, or in its globals: the error names the executor."""

from concurrent.futures import ProcessPoolExecutor


def work(pool):
    return pool.submit(abs, -1).result()


def by_global():
    return pool.submit(abs, -1)


if __name__ == "__main__":
    with ProcessPoolExecutor(1) as pool:
        for future in (pool.submit(work, pool), pool.submit(work, [pool]), pool.submit(by_global)):
            print("xecutor" in str(future.exception()))
        print(pool.submit(abs, -1).result())

# expected:
# True
# True
# True
# 1
