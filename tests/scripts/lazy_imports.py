"""Modules and names that the script imports when they are first used (Python 3.15; earlier versions import at once)."""

# contexts: default fork spawn tcp
# modes: file -c

from concurrent.futures import ProcessPoolExecutor

__lazy_modules__ = ["collections", "json", "xml.dom.minidom"]
import json
import xml.dom.minidom
from collections import OrderedDict

CONTEXT = None


def dump(x):
    return json.dumps(x)


def document(text):
    return xml.dom.minidom.parseString(text).documentElement.tagName


class Table:
    kind = "table"

    def rows(self):
        return OrderedDict(a=1)


def ordered(table):
    return list(table.rows().items()), table.kind


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(pool.submit(dump, {"a": 1}).result())
        print(pool.submit(document, "<page/>").result())
        print(pool.submit(ordered, Table()).result())
        print(json.dumps([2]))
        print(pool.submit(dump, [2]).result())
        print(list(pool.map(document, ["<a/>", "<b/>"])))
