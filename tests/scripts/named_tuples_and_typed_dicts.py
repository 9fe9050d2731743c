"""``NamedTuple``, ``namedtuple``, ``TypedDict`` of the script."""

# contexts: default fork spawn tcp
# modes: file stdin

from collections import OrderedDict, UserDict, namedtuple
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple, TypedDict

CONTEXT = None
Pair = namedtuple("Pair", "left right", defaults=["r"])


class Employee(NamedTuple):
    name: str
    id: int = 3

    def greeting(self):
        return f"hello {self.name}"


class Movie(TypedDict):
    title: str
    year: int


class Names(UserDict):
    def __missing__(self, key):
        return f"no {key}"


class Sorted(OrderedDict):
    pass


def swap(pair):
    return Pair(pair.right, pair.left)


def rename(employee):
    return employee._replace(name="B"), employee.greeting(), isinstance(employee, Employee)


def later(movie):
    return Movie(title=movie["title"], year=movie["year"] + 1)


def look_up(names):
    names["d"] = names["c"]
    return names


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        pair = pool.submit(swap, Pair(1)).result()
        print(pair, type(pair) is Pair, pair._fields)
        employee, greeting, known = pool.submit(rename, Employee("A")).result()
        print(employee, greeting, known, type(employee) is Employee, employee == Employee("B"))
        print(pool.submit(later, Movie(title="t", year=1999)).result())
        names = pool.submit(look_up, Names(a=1)).result()
        print(type(names) is Names, names, names["z"])
        print(type(pool.submit(Sorted, [("a", 1)]).result()) is Sorted)
