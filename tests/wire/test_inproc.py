"""Arguments that are the objects themselves: shared, and copied only where a future has to be replaced."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from futures_cluster.future import Future
from futures_cluster.messages import Reference
from futures_cluster.wire.codec import arguments
from futures_cluster.wire.codec.object_codec import ObjectCodec

A, B = Future("a"), Future("b")
VALUES = {"a": 1, "b": [2]}
codec = ObjectCodec()


class Box:
    def __init__(self, content: Any) -> None:
        self.content = content


def call(*args: Any, resolve: bool = True, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    payload, keys, _ = codec.dump_call(args, kwargs, resolve)
    return codec.load_call(payload, [VALUES[key] for key in keys])


def test_arguments_are_the_objects_themselves() -> None:
    objects: list[Any] = [threading.Lock(), [], {}, Box(A)]
    args, kwargs = call(*objects, x=objects)
    assert all(a is b for a, b in zip(args, objects, strict=True))
    assert kwargs["x"] is objects


def test_containers_without_futures_are_never_copied() -> None:
    """A list that tasks append to is the caller's list, also when a future is another argument."""
    log: list[int] = []
    args, kwargs = call(A, log, [A, log], x={"log": log, "b": B}, y=log)
    assert args[0] == 1
    assert args[1] is log and args[2][1] is log and kwargs["x"]["log"] is log and kwargs["y"] is log
    assert kwargs["x"]["b"] == [2]


def test_futures_at_any_depth() -> None:
    args, kwargs = call([A, (B, {"k": A, A: 5}), {A}, frozenset([A])], key=[[[[B]]]])
    assert args == ([1, ([2], {"k": 1, 1: 5}), {1}, frozenset([1])],)
    assert kwargs == {"key": [[[[[2]]]]]}


def test_futures_in_attributes_stay() -> None:
    box = Box(A)
    args, _ = call(box, [A, box])
    assert args[0] is box and box.content is A
    assert args[1] == [1, box]


def test_with_resolve_false_all_stay() -> None:
    args, kwargs = call(A, [A], x=B, resolve=False)
    assert args == (A, [A]) and kwargs == {"x": B}


def test_keys_and_references() -> None:
    twin = Future("a")
    _, keys, references = codec.dump_call((A, [B, twin]), {"x": A}, True)
    assert keys == ["a", "b"]
    assert references == [A, B, twin]


def test_containers_with_circles() -> None:
    circle: list[Any] = [A]
    circle.append(circle)
    circle.append((circle, {"c": circle}))
    (back,), _ = call(circle)
    assert back[0] == 1 and back[1] is back and back[2][0] is back and back[2][1]["c"] is back
    assert circle[0] is A
    plain: list[Any] = []
    plain.append(plain)
    (same, _), _ = call(plain, A)
    assert same is plain


def test_what_is_one_object_stays_one() -> None:
    shared = [A]
    args, _ = call(shared, {"same": shared}, (shared,))
    assert args[0] is args[1]["same"] is args[2][0]


@given(st.recursive(st.just(A) | st.just(B) | st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_any_nesting(obj: Any) -> None:
    def expected(x: Any) -> Any:
        if isinstance(x, Reference):
            return VALUES[x.key]
        if type(x) is list:
            return [expected(item) for item in x]
        if type(x) is dict:
            return {key: expected(item) for key, item in x.items()}
        return x

    assert call(obj, x=obj) == ((expected(obj),), {"x": expected(obj)})


def test_a_very_deep_nesting_is_searched() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    found = arguments.find((deep, A), {})
    assert list(found.keys) == ["a"]


def test_numbers_are_not_looked_at_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []
    monkeypatch.setattr(arguments, "isinstance", lambda obj, cls: looked_at.append(obj), raising=False)
    found = arguments.find(([1.5] * 100_000,), {"x": dict.fromkeys(range(100_000), "text")})
    assert not found.references and not found.inside
    assert looked_at == ["x"]  # what is beside a container
