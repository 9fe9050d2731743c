"""Classes defined inside functions travel by value and are one class for one caller."""

# modes: file stdin ipython

import enum
from collections import namedtuple
from concurrent.futures import ProcessPoolExecutor


# %%
def make():
    class Local:
        count = 0

        def __init__(self, n):
            self.n = n

        def bump(self):
            Local.count += 1
            return Local.count

    class Child(Local):
        def bump(self):
            return super().bump() + 100

    return Local, Child, namedtuple("Inside", "a b"), enum.Enum("Choice", "YES NO")


def same(a, b):
    return type(a) is type(b)


# %%
if __name__ == "__main__":
    Local, Child, Inside, Choice = make()
    with ProcessPoolExecutor(1) as pool:
        print(type(pool.submit(Local, 3).result()) is Local)
        print(pool.submit(lambda local: local, Local(3)).result().n)
        print(pool.submit(Child(1).bump).result())
        print(pool.submit(same, Local(1), Local(2)).result(), pool.submit(same, Local(1), Child(1)).result())
        print(pool.submit(lambda p: p.a + p.b, Inside(1, 2)).result())
        print(pool.submit(lambda: Choice.YES).result() is Choice.YES)
        print(type(pool.submit(lambda: Local(5)).result()) is Local)

# expected:
# True
# 3
# 101
# True False
# 3
# True
# True
