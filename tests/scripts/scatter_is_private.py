"""Scattered data is private to each task that writes to it, below and above the size that is sent along."""

# contexts: default tcp
# without: ray
# needs: numpy

import numpy as np

from futures_cluster import Executor as ProcessPoolExecutor

CONTEXT = None


class Record:
    def __init__(self, size):
        self.list = []
        self.array = np.zeros(size)


def add_one(array):
    array += 1
    return float(array[0]), float(array[-1])


def change(record):
    record.list.append(1)
    record.array += 1
    return len(record.list), float(record.array.sum())


if __name__ == "__main__":
    with ProcessPoolExecutor() as pool:
        for size in (10, 5_000, 500_000):
            scattered = pool.scatter(np.ones(size))
            print([pool.submit(add_one, scattered).result() for _ in range(3)])
            print([future.result() for future in [pool.submit(add_one, scattered) for _ in range(3)]])
            print(scattered.result()[0])
            record = pool.scatter(Record(size))
            print([pool.submit(change, record).result() for _ in range(2)], len(record.result().list))

# expected:
# [(2.0, 2.0), (2.0, 2.0), (2.0, 2.0)]
# [(2.0, 2.0), (2.0, 2.0), (2.0, 2.0)]
# 1.0
# [(1, 10.0), (1, 10.0)] 0
# [(2.0, 2.0), (2.0, 2.0), (2.0, 2.0)]
# [(2.0, 2.0), (2.0, 2.0), (2.0, 2.0)]
# 1.0
# [(1, 5000.0), (1, 5000.0)] 0
# [(2.0, 2.0), (2.0, 2.0), (2.0, 2.0)]
# [(2.0, 2.0), (2.0, 2.0), (2.0, 2.0)]
# 1.0
# [(1, 500000.0), (1, 500000.0)] 0
