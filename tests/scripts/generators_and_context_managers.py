"""Generators, context managers, coroutines and iterators of the script that tasks use."""

# contexts: default fork spawn tcp
# modes: file -c

import asyncio
import contextlib
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None
entered = []


def squares(n):
    for i in range(n):
        yield i * i


@contextlib.contextmanager
def note(name):
    entered.append(name)
    try:
        yield name.upper()
    finally:
        entered.append(f"end of {name}")


class Timer:
    def __enter__(self):
        entered.append("timer")
        return self

    def __exit__(self, kind, error, trace):
        entered.append(kind.__name__ if kind else "fine")
        return kind is ZeroDivisionError


class Countdown:
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        return self

    def __next__(self):
        if not self.n:
            raise StopIteration
        self.n -= 1
        return self.n


async def add(x, y):
    await asyncio.sleep(0)
    return x + y


def use(n):
    with note("a") as name, Timer():
        entered.append(1 // n)
    return sum(squares(n)), name, list(Countdown(n)), asyncio.run(add(1, n)), list(entered)


def take(iterator):
    return next(iterator), list(iterator)


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(pool.submit(use, 0).result())
        print(pool.submit(use, 3).result()[:4])
        print(pool.submit(take, Countdown(4)).result())
        print(type(pool.submit(squares, 3).exception()).__name__)
        print(pool.submit(sum, list(squares(4))).result())
