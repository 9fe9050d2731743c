"""Attributes of classes and functions that tasks set are there for later tasks."""

# contexts: default fork spawn forkserver tcp
# modes: file -c module

from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


class Counter:
    count = 0
    instances = []

    def __init__(self):
        Counter.count += 1
        type(self).instances.append(Counter.count)

    @classmethod
    def bump(cls, n):
        cls.count += n
        return cls.count

    @staticmethod
    def read():
        return Counter.count


class Special(Counter):
    pass


def make():
    Counter()
    Special()
    return Counter.count, Counter.instances


def counted(x):
    counted.calls += 1
    return x, counted.calls


counted.calls = 0


def calls_of_counted():
    return counted.calls


def set_special(n):
    Special.count = n
    return Counter.count, Special.count


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print([pool.submit(make).result() for _ in range(2)])
        print(pool.submit(Counter.bump, 10).result())
        print(pool.submit(Counter.read).result())
        print(pool.submit(set_special, -1).result())
        print(pool.submit(Special.bump, 5).result(), pool.submit(Counter.bump, 0).result())
        print(list(pool.map(counted, "abc")))
        print(pool.submit(calls_of_counted).result())
    print(Counter.count, counted.calls)
