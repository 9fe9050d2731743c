"""Generic functions by ``singledispatch``, with implementations that the script registers."""

# contexts: default fork spawn tcp
# modes: file -c stdin

from concurrent.futures import ProcessPoolExecutor
from functools import singledispatch, singledispatchmethod

CONTEXT = None


class Circle:
    pass


@singledispatch
def describe(x):
    return "something"


@describe.register
def _(x: int):
    return f"integer {x}"


@describe.register(list)
def describe_list(x):
    return [describe(y) for y in x]


@describe.register
def _(x: Circle):
    return "circle"


class Formatter:
    @singledispatchmethod
    def format(self, x):
        return "?"

    @format.register
    def _(self, x: int):
        return f"{x:03}"

    @format.register
    def _(self, x: Circle):
        return "O"


def by_way_of(x):
    return describe(x), Formatter().format(x)


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(pool.submit(describe, 1.5).result())
        print(pool.submit(describe, [1, Circle(), "a"]).result())
        print(pool.submit(by_way_of, Circle()).result())
        print(pool.submit(by_way_of, 7).result())
        print(pool.submit(describe_list, [1]).result())
        print(pool.submit(by_way_of, Formatter()).result())
