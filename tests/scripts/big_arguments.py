"""Arguments and results of 10 MB, many at a time, in closures of ``partial`` and in instances of the script."""

# contexts: default fork
# modes: file -c

from concurrent.futures import ProcessPoolExecutor
from functools import partial

CONTEXT = None
SIZE = 10_000_000


class Holder:
    def __init__(self, data):
        self.data = data


def measure(data):
    return len(data), data[:2], data[-1:]


def change(holder):
    holder.data[0] = 1
    return holder


def first(data, n):
    return data[n]


if __name__ == "__main__":
    with ProcessPoolExecutor(2, mp_context=CONTEXT) as pool:
        print(list(pool.map(measure, [bytes([n]) * SIZE for n in range(4)])))
        print(pool.submit(measure, "é" * SIZE).result())
        holder = Holder(bytearray(SIZE))
        changed = pool.submit(change, holder).result()
        print(type(changed) is Holder, changed.data[0], holder.data[0], len(changed.data))
        print(list(pool.map(partial(first, bytes(range(256)) * 10_000), range(3))))
        print(sum(pool.submit(list, range(1_000_000)).result()))
