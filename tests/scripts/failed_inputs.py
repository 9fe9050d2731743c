"""A failed future as an argument: its dependents fail with the same error, each with a traceback of its own."""

# contexts: default tcp

import traceback
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


class Failed(Exception):
    pass


def fail(x):
    raise Failed(x)


def add(*values):
    return sum(values)


def length(error):
    return len(traceback.extract_tb(error.__traceback__))


def lengths(futures):
    found = []
    for future in futures:
        try:
            future.result()
        except Failed as error:
            found.append(length(error))
    return found


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        failed = pool.submit(fail, "input")
        dependents = [pool.submit(add, 1, failed), pool.submit(add, failed, [failed]), pool.submit(add, failed)]
        print([type(future.exception()) is Failed for future in dependents], dependents[0].exception())
        print(len({id(future.exception()) for future in dependents}))
        first = lengths(dependents[:1])
        lengths(dependents[:1] * 3)
        print(lengths(dependents[1:]) == first * 2)


# expected:
# [True, True, True] input
# 3
# True
