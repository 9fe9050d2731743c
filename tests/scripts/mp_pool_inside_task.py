"""A ``multiprocessing`` pool by fork inside of a task, with functions and objects of the script."""

# contexts: default fork spawn
# modes: file -c stdin

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None
offset = 1


class Item:
    def __init__(self, n):
        self.n = n


def square(item):
    return Item(item.n**2 + offset)


def all_squares(n):
    global offset
    offset = 100
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.map(square, [Item(i) for i in range(n)])
    return [item.n for item in found], all(type(item) is Item for item in found)


def in_a_process(n):
    queue = multiprocessing.get_context("fork").SimpleQueue()
    process = multiprocessing.get_context("fork").Process(target=put, args=(queue, Item(n)))
    process.start()
    item = queue.get()
    process.join()
    return item.n, type(item) is Item, process.exitcode


def put(queue, item):
    queue.put(square(item))


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(pool.submit(all_squares, 4).result())
        print(pool.submit(in_a_process, 3).result())
