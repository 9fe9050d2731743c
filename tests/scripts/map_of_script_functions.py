"""``map`` with several iterables, chunks, timeouts, errors in the middle, and closed early."""

# contexts: default fork spawn
# modes: file stdin

import time
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None
seen = []


def add(x, y):
    return x + y


def invert(x):
    return 1 // x


def sleep(x):
    time.sleep(x)
    return x


def note(x):
    seen.append(x)
    return len(seen)


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(list(pool.map(add, range(5), range(10, 14))))
        print(list(pool.map(add, "abc", "def", chunksize=2)), list(pool.map(note, [])))
        print(list(pool.map(note, range(7), chunksize=3)))
        results = pool.map(invert, [1, 2, 0, 3])
        print(next(results), next(results))
        try:
            next(results)
        except ZeroDivisionError as error:
            print(error)
        print(list(results))
        try:
            list(pool.map(sleep, [0, 0.5], timeout=0.1))
        except TimeoutError:
            print("timeout")
        closed = pool.map(note, range(3))
        next(closed)
        closed.close()
        for wrong in (0, -1):
            try:
                pool.map(note, [1], chunksize=wrong)
            except ValueError as error:
                print(str(error)[: len("chunksize must be >= 1")])  # ours goes on with the value
