"""Cached functions pickle by name, and their cache stays on the worker."""

# contexts: default fork spawn forkserver tcp
# modes: file -c stdin module ipython

from concurrent.futures import ProcessPoolExecutor
from functools import cache, lru_cache

CONTEXT = None


# %%
@lru_cache(maxsize=2)
def square(x):
    return x * x


@cache
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def info():
    return tuple(square.cache_info()), tuple(fib.cache_info())


def by_way_of(x):
    return square(x) + fib(x)


# %%
if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(pool.submit(square, 3).result())
        print(list(pool.map(square, [3, 3, 4])))
        print(pool.submit(fib, 30).result())
        print(pool.submit(fib, 20).result())
        print(*pool.submit(info).result(), sep="\n")
        print(pool.submit(by_way_of, 4).result())
        print(*pool.submit(info).result(), sep="\n")
    print(square.cache_info().currsize, fib.cache_info().currsize)
