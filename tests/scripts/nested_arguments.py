"""Arguments and results of many types, nested, with shared and recursive references."""

# contexts: default fork spawn tcp
# modes: file -c

import array
import datetime
import decimal
import fractions
import pathlib
import re
import uuid
from collections import ChainMap, Counter, deque
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


class Node:
    def __init__(self, value):
        self.value = value
        self.next = self


VALUES = [
    None,
    ...,
    3 + 4j,
    2**200,
    float("inf"),
    b"bytes",
    bytearray(b"array"),
    frozenset({1, 2}),
    range(3, 9, 2),
    slice(1, None),
    deque([1, 2], maxlen=2),
    Counter("aab"),
    ChainMap({"a": 1}, {"b": 2}),
    datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC),
    decimal.Decimal("1.20"),
    fractions.Fraction(1, 3),
    pathlib.PurePosixPath("/a/b"),
    uuid.UUID(int=5),
    re.compile("a+", re.IGNORECASE),
    array.array("d", [1.5]),
    "ü\udc80",
    int,
    len,
    NotImplemented,
]


def same(*values, **named):
    return list(values), named


def identities(pair):
    return pair[0] is pair[1], pair[0].next is pair[0]


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        back, named = pool.submit(same, *VALUES, key={"a": [VALUES]}).result()
        print(back == VALUES, named["key"]["a"][0] == VALUES, [type(x) for x in back] == [type(x) for x in VALUES])
        node = Node(1)
        print(pool.submit(identities, (node, node)).result())
        (again,), _ = pool.submit(same, node).result()
        print(again.next is again, type(again) is Node)
        loop = []
        loop.append(loop)
        (back,), _ = pool.submit(same, loop).result()
        print(back[0] is back)
        print(pool.submit(same, self=1, fn=2, args=3, timeout=4).result())
