"""``__name__``, ``__file__``, ``__doc__``, ``sys.argv``, working folder and ``sys.path`` as a task sees them."""

# contexts: default fork
# modes: file module -c stdin

import os
import sys
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


class Thing:
    pass


def names():
    return __name__, globals().get("__file__"), __doc__, sys.argv, os.getcwd()


def package():
    return __package__, __spec__ and __spec__.name


def modules():
    return names.__module__, Thing.__module__, sys.modules["__main__"].__dict__ is globals()


def search():
    return sys.path


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(pool.submit(names).result() == names(), names()[0])
        print(pool.submit(package).result() == package())
        print(pool.submit(modules).result())
        print([path for path in sys.path if path not in pool.submit(search).result()])
