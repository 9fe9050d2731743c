"""What the vocabulary promises of each of its classes: fields, equality, texts.

Covers: every class of ``messages``. Does not cover: what the messages mean, and their way over the wire.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from futures_cluster import messages as m
from futures_cluster.messages.basics import FRESH, Record, field_names

CLASSES = [each for each in vars(m).values() if isinstance(each, type) and issubclass(each, Record)]
CLASSES.remove(m.Message)  # their base
each_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)


def parameters(cls: type[Record]) -> list[inspect.Parameter]:
    return list(inspect.signature(cls).parameters.values())


def values_of(cls: type[Record]) -> list[Any]:
    return [f"value {i}" for i in range(len(field_names(cls)))]


def test_there_are_classes() -> None:
    assert {m.Tick, m.ToWorker, *m.WIRE_MESSAGES} <= set(CLASSES)


@each_class
def test_the_fields_are_what_the_constructor_takes(cls: type[Record]) -> None:
    values = values_of(cls)
    made = cls(*values)
    assert tuple(each.name for each in parameters(cls)) == field_names(cls)
    assert [getattr(made, name) for name in field_names(cls)] == values
    assert not hasattr(made, "__dict__")


@each_class
def test_equal_are_those_with_equal_fields(cls: type[Record]) -> None:
    values = values_of(cls)
    made = cls(*values)
    assert made == cls(*values) and made != tuple(values) and made != object()
    for name in field_names(cls):
        other = made.replace(**{name: "other"})
        assert other != made
        assert getattr(other, name) == "other" and getattr(made, name) != "other"
    with pytest.raises(TypeError, match="unhashable"):
        hash(made)


@each_class
def test_the_text_is_a_call(cls: type[Record]) -> None:
    made = cls(*values_of(cls))
    assert eval(repr(made), {cls.__name__: cls}) == made


@each_class
def test_defaults_are_not_shared(cls: type[Record]) -> None:
    needed = [f"value {each.name}" for each in parameters(cls) if each.default is inspect.Parameter.empty]
    first, second = cls(*needed), cls(*needed)
    assert first == second
    for each in parameters(cls):
        if each.default is FRESH and each.annotation.startswith(("list", "dict")) and "None" not in each.annotation:
            value = getattr(first, each.name)
            assert value == ({} if each.annotation.startswith("dict") else [])
            assert value is not getattr(second, each.name)


def test_of_other_classes_with_the_same_fields_none_is_equal() -> None:
    assert m.ClientJoined("a") != m.ClientLeft("a")
