"""A cell that is run again with a changed class: new instances, old instances, subclasses and functions that use it."""

# modes: ipython file

from concurrent.futures import ProcessPoolExecutor

pool = None


# %%
class Shape:
    sides = 3

    def describe(self):
        return f"old with {self.sides}"


# %%
def make():
    return Shape()


def describe(shape):
    return shape.describe(), isinstance(shape, Shape)


# %%
if __name__ == "__main__":
    pool = ProcessPoolExecutor(1)
    old = pool.submit(make).result()
    print(type(old) is Shape, pool.submit(describe, old).result())


# %%
class Shape:
    sides = 4

    def describe(self):
        return f"new with {self.sides}"


# %%
if __name__ == "__main__":
    new = pool.submit(make).result()
    print(type(new) is Shape, new.describe())
    print(pool.submit(describe, new).result(), pool.submit(describe, Shape()).result())
    print(pool.submit(describe, old).result())
    print(pool.submit(Shape().describe).result())

# %%
if __name__ == "__main__":
    print(pool.submit(make).result().sides)
    pool.shutdown()

# expected:
# True ('old with 3', True)
# True new with 4
# ('new with 4', True) ('new with 4', True)
# ('old with 3', False)
# new with 4
# 4
