"""Instances of classes with ``__slots__`` travel in and out."""

# contexts: default fork spawn tcp
# modes: file -c stdin

from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


class Point:
    __slots__ = ("x", "y")

    def __init__(self, x, y):
        self.x, self.y = x, y

    def moved(self, dx):
        return type(self)(self.x + dx, self.y)

    def __eq__(self, other):
        return type(other) is type(self) and (self.x, self.y) == (other.x, other.y)

    __hash__ = None


class Point3(Point):
    __slots__ = ("z", "__weakref__")

    def moved(self, dx):
        point = type(self)(self.x + dx, self.y)
        point.z = getattr(self, "z", 0) + dx
        return point


def move(point):
    return point.moved(1)


def has_dict(point):
    return hasattr(point, "__dict__"), type(point) is Point, Point.x.__get__(point), Point.__slots__


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        point = pool.submit(move, Point(1, 2)).result()
        print(point.x, point.y, type(point) is Point, point == Point(2, 2))
        point = pool.submit(move, point).result()
        print(point.x, pool.submit(has_dict, point).result())
        deep = pool.submit(move, Point3(5, 6)).result()
        print(deep.x, deep.y, deep.z, type(deep) is Point3, isinstance(deep, Point))
        print(pool.submit(Point3(1, 1).moved, 3).result().z)
