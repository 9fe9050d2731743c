"""Classes made by ``type()``, ``make_dataclass``, ``namedtuple`` and the functional API of ``enum``."""

# contexts: default fork tcp
# modes: file -c

import dataclasses
import enum
from collections import namedtuple
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


def describe(self):
    return f"{type(self).__name__} {sorted(vars(self))}"


Made = type("Made", (), {"describe": describe})
Row = dataclasses.make_dataclass("Row", ["a", ("b", int, 5)])
Row.__module__ = __name__
Level = enum.Enum("Level", "LOW HIGH")
Pair = namedtuple("Pair", ["x", "y"])


def instance():
    made = Made()
    made.z = 1
    return made


def use(made, row, level, pair):
    return made.describe(), row.a + row.b, level is Level.LOW, pair.x, type(row) is Row, isinstance(pair, Pair)


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        made = pool.submit(instance).result()
        print(type(made) is Made, made.describe())
        print(pool.submit(use, made, Row(1), Level.LOW, Pair(3, 4)).result())
        print(pool.submit(Level, 2).result() is Level.HIGH, pool.submit(Row, 1, 2).result() == Row(1, 2))
