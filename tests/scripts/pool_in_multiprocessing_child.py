"""A pool in a child of ``multiprocessing``, where the script is the module ``__mp_main__``."""

# contexts: default fork

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None
factor = 3
state = None


class Item:
    def __init__(self, n):
        self.n = n


class ItemError(Exception):
    pass


def scale(item):
    return Item(item.n * factor)


def init(value):
    global state
    state = value


def get_state():
    return state


def fail(x):
    raise ItemError(x)


def child(connection):
    with ProcessPoolExecutor(1, mp_context=CONTEXT, initializer=init, initargs=("set",)) as pool:
        item = pool.submit(scale, Item(2)).result()
        error = pool.submit(fail, 1).exception()
        connection.send((__name__, item.n, type(item) is Item, type(error) is ItemError))
        connection.send((pool.submit(get_state).result(), list(pool.map(abs, [-1]))))


if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        ours, theirs = context.Pipe()
        process = context.Process(target=child, args=(theirs,))
        process.start()
        theirs.close()
        print(method, ours.recv(), ours.recv())
        process.join()
        print(process.exitcode)
