"""Caches of methods, behind decorators, of static and class methods, and passed as arguments."""

# contexts: default fork spawn tcp
# modes: file -c

from concurrent.futures import ProcessPoolExecutor
from functools import cache, lru_cache, wraps

CONTEXT = None


def traced(function):
    @wraps(function)
    def wrapper(*args):
        return ["traced", function(*args)]

    wrapper.cache_info = function.cache_info
    return wrapper


@traced
@lru_cache
def double(x):
    return 2 * x


class Shape:
    def __init__(self, side):
        self.side = side

    @lru_cache  # noqa: B019
    def area(self):
        return self.side**2

    @staticmethod
    @cache
    def name():
        return "shape"

    @classmethod
    @cache
    def kind(cls):
        return cls.__name__


def use_all(side):
    shape = Shape(side)
    values = shape.area(), shape.area(), Shape.name(), Shape.kind()
    return values, Shape.area.cache_info().hits, Shape.name.cache_info().hits


@cache
def tripled(x):
    return 3 * x


def apply(function, x):
    return function(x), function is tripled, function.cache_info().misses


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(pool.submit(double, 4).result(), double(4), pool.submit(double, 4).result())
        print(pool.submit(use_all, 3).result())
        print(pool.submit(use_all, 3).result())
        print(pool.submit(Shape(5).area).result())
        print(pool.submit(Shape.name).result(), pool.submit(Shape.kind).result())
        print(pool.submit(apply, tripled, 5).result())
        print(pool.submit(apply, tripled, 5).result())
