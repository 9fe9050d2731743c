"""An initializer that raises breaks the pool."""

# contexts: default fork spawn
# modes: file module

from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

CONTEXT = None


def init():
    raise ValueError("no licence")


def task():
    return "ran"


if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, mp_context=CONTEXT, initializer=init)
    try:
        print(pool.submit(task).result())
    except BrokenExecutor as error:
        print(isinstance(error, BrokenProcessPool))
    try:
        pool.submit(task)
    except BrokenExecutor:
        print("broken for good")
    pool.shutdown()
