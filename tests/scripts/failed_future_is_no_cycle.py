"""A failed future keeps no argument alive: nothing waits for the collector of cycles."""

# contexts: default fork

import gc
import weakref
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


class Argument:
    pass


class Failed(Exception):
    pass


def fail(argument):
    raise Failed("failed")


def caller(pool):
    argument = Argument()
    future = pool.submit(fail, argument)
    error = future.exception()
    return weakref.ref(argument), weakref.ref(future), weakref.ref(error)


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        gc.collect()
        gc.disable()
        kept = caller(pool)
        pool.submit(abs, 1).result()
        pool.submit(abs, 1).result()
        print([ref() is None for ref in kept])
