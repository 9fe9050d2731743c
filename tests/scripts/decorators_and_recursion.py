"""Decorated functions of the script (``wraps``, with arguments, stacked), recursion and mutual recursion."""

# contexts: default fork spawn tcp
# modes: file stdin ipython

import functools
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None
calls = []


# %%
def logged(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        calls.append(function.__name__)
        return function(*args, **kwargs)

    return wrapper


def repeated(times):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args):
            return [function(*args) for _ in range(times)]

        wrapper.times = times
        return wrapper

    return decorate


@repeated(2)
@logged
def double(x):
    """Double it."""
    return 2 * x


@logged
def factorial(n):
    return 1 if n < 2 else n * factorial(n - 1)


def is_even(n):
    return True if n == 0 else is_odd(n - 1)


def is_odd(n):
    return False if n == 0 else is_even(n - 1)


def fib(n, memo={}):  # noqa: B006
    if n not in memo:
        memo[n] = n if n < 2 else fib(n - 1) + fib(n - 2)
    return memo[n]


def facts():
    return double.__name__, double.__doc__, double.times, double.__wrapped__.__name__, calls


# %%
if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(pool.submit(double, 4).result())
        print(pool.submit(factorial, 5).result())
        print(list(pool.map(is_even, range(4))), pool.submit(is_odd, 7).result())
        print(pool.submit(fib, 80).result())
        print(pool.submit(facts).result())
