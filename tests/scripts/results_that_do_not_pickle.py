"""Results and arguments that do not pickle are errors of their futures, and the pool goes on."""

# contexts: default fork spawn
# modes: file

import threading
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


class Stubborn:
    def __reduce__(self):
        raise RuntimeError("will not travel")


def give_lock():
    return threading.Lock()


def give_stubborn():
    return Stubborn()


def take(x):
    return "taken"


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(type(pool.submit(give_lock).exception()).__name__)
        print(repr(pool.submit(give_stubborn).exception()))
        print(repr(pool.submit(take, Stubborn()).exception()))
        print(type(pool.submit(take, threading.Lock()).exception()).__name__)
        print(pool.submit(take, 1).result())
