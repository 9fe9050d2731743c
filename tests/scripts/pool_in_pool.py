"""A task of a pool makes a pool of its own, with functions of the script."""

# contexts: default fork spawn

from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


def square(x):
    return x * x


def inner(n):
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        return sum(pool.map(square, range(n)))


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(list(pool.map(inner, [3, 4])))
