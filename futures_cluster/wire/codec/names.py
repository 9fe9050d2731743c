"""The names that the code and the annotations of a function use.

Does not cover: what the names are bound to (``owners``, ``programs``).
"""

from __future__ import annotations

import dis
import functools
import re
from types import CodeType, FunctionType
from typing import Any

_READS_GLOBAL = frozenset(("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"))
_SETS_GLOBAL = frozenset(("STORE_GLOBAL", "DELETE_GLOBAL"))
_NAME = re.compile(r"[^\W\d]\w*")


class Names:
    """The global names that a code object reads and sets, with those of the functions inside of it."""

    __slots__ = ("attributes", "read", "set")

    def __init__(self, code: CodeType) -> None:
        self.read: dict[str, None] = {}
        self.set: dict[str, None] = {}
        self.attributes: dict[str, None] = {}
        self._add(code)

    def _add(self, code: CodeType) -> None:
        for instruction in dis.get_instructions(code):
            if instruction.opname in _READS_GLOBAL:
                self.read[instruction.argval] = None
            elif instruction.opname in _SETS_GLOBAL:
                self.set[instruction.argval] = None
        self.attributes.update(dict.fromkeys(code.co_names))
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self._add(constant)


@functools.lru_cache(5000)
def names_of(code: CodeType) -> Names:
    """Return the names that a code object uses."""
    return Names(code)


def names_in(annotation: str) -> list[str]:
    """Return the names in an annotation that is a text."""
    return _NAME.findall(annotation)


def annotations_of(function: FunctionType) -> dict[str, Any]:
    """Return the annotations of a function; what is not defined yet as its text."""
    try:
        return dict(function.__annotations__)
    except Exception:  # from Python 3.14 on they are evaluated now, and may name what is not defined yet
        import annotationlib  # type: ignore[import-not-found, unused-ignore]

        return dict(annotationlib.get_annotations(function, format=annotationlib.Format.STRING))
