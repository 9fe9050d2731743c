"""Functions are pickled once, and again when they would pickle to something else."""

from __future__ import annotations

import functools
import gc
import operator
import sys
import types
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from futures_cluster import Executor
from futures_cluster.services.client.function_table import FunctionTable, call
from futures_cluster.wire.codec import pickling
from futures_cluster.wire.codec.pickle_codec import PickleCodec


@pytest.fixture(scope="module")
def executor() -> Iterator[Executor]:
    with Executor(1) as ex:
        ex.submit(int).result(30)
        yield ex


class Counting:
    """Submits, and counts how often functions were pickled since the last look."""

    def __init__(self, ex: Executor) -> None:
        self.table = ex._engine.client.functions
        self.ex = ex
        self.pickled = 0
        self.dump = self.table._dump
        self.table._dump = self.count

    def count(self, fn: Any) -> Any:
        self.pickled += fn is not call
        return self.dump(fn)

    def __call__(self, fn: Any, *args: Any) -> tuple[Any, int]:
        self.pickled = 0
        return self.ex.submit(fn, *args).result(30), self.pickled


@pytest.fixture
def submit(executor: Executor) -> Counting:
    return Counting(executor)


def of_a_module(x: int) -> int:
    return x + 1


def other_of_a_module(x: int) -> int:
    return x + 2


class OfAModule:
    def __init__(self, x: int) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OfAModule) and other.x == self.x

    def method(self, y: int) -> int:
        return self.x + y

    @classmethod
    def make(cls, x: int) -> OfAModule:
        return cls(x)


@pytest.mark.parametrize(("fn", "arg"), [(of_a_module, 1), (abs, -1), (OfAModule, 5), (operator.neg, 3)])
def test_importable_ones_are_pickled_once(submit: Counting, fn: Any, arg: int) -> None:
    assert submit(fn, arg)[0] == fn(arg)
    for _ in range(10):
        assert submit(fn, arg) == (fn(arg), 0)


def test_lambdas_are_pickled_once(submit: Counting) -> None:
    fn = lambda x: x * 3  # noqa: E731
    assert submit(fn, 2) == (6, 1)
    assert submit(fn, 3) == (9, 0)


def test_a_changed_cell_is_seen(submit: Counting) -> None:
    scale = 10

    def scaled(x: int) -> int:
        return x * scale

    assert submit(scaled, 1) == (10, 1)
    assert submit(scaled, 2) == (20, 0)
    scale = 100
    assert submit(scaled, 1) == (100, 1)
    scale = 10
    assert submit(scaled, 1) == (10, 1)


def test_an_empty_cell(submit: Counting) -> None:
    def late() -> int:
        return value

    with pytest.raises(NameError):
        submit(late)
    value = 5
    assert submit(late)[0] == 5


def in_module(source: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module like ``__main__``, whose functions travel by value."""
    module = types.ModuleType("__main__")
    exec(source, module.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", module)
    return module


def test_what_a_closure_holds_is_looked_at_under_a_global_name_too(
    submit: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = in_module(
        "def make():\n    n = 0\n    def get(): return n\n    def add():\n        nonlocal n\n        n += 1\n"
        "    return get, add\nget, add = make()\ndef user(): return get()\ndef defaults(*, a=1): return a",
        monkeypatch,
    )
    for expected in (0, 1, 2):
        assert (submit(main.get), submit(main.get)) == ((expected, 1), (expected, 0))
        assert submit(main.user)[0] == expected
        main.add()
    assert submit(main.defaults)[0] == 1
    main.defaults.__kwdefaults__["a"] = 5
    assert submit(main.defaults)[0] == 5


def test_a_changed_global_is_seen(submit: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    main = in_module("scale = 2\ndef double(x): return x * scale", monkeypatch)
    assert submit(main.double, 5) == (10, 1)
    assert submit(main.double, 6) == (12, 0)
    main.scale = 3
    assert submit(main.double, 5) == (15, 1)


def test_a_global_of_an_inner_function_is_seen(submit: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    main = in_module("scale = 2\ndef double(x): return [x * scale for _ in range(1)][0]", monkeypatch)
    assert submit(main.double, 5)[0] == 10
    main.scale = 3
    assert submit(main.double, 5)[0] == 15


def test_a_global_of_a_function_that_is_called_is_seen(submit: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    main = in_module("scale = 2\ndef inner(x): return x * scale\ndef outer(x): return inner(x)", monkeypatch)
    assert submit(main.outer, 5)[0] == 10
    main.scale = 3
    assert submit(main.outer, 5)[0] == 15


def test_a_global_that_was_changed_in_place_is_the_very_same_object(
    submit: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The rule is that of identity: looking into every object that a function refers to could cost any time.
    main = in_module("settings = [2]\ndef show(): return repr(settings)", monkeypatch)
    assert submit(main.show)[0] == "[2]"
    main.settings.append(3)
    assert submit(main.show)[0] == "[2]"
    main.settings = [*main.settings]
    assert submit(main.show)[0] == "[2, 3]"


def test_a_function_that_was_defined_again(submit: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    main = in_module("def f(): return 1", monkeypatch)
    assert submit(main.f)[0] == 1
    exec("def f(): return 2", main.__dict__)
    assert submit(main.f)[0] == 2
    main.f.__code__ = (lambda: 3).__code__
    assert submit(main.f)[0] == 3


def test_changed_defaults_are_seen(submit: Counting) -> None:
    def fn(a: int = 1, *, b: int = 2) -> tuple[int, int]:
        return a, b

    assert submit(fn) == ((1, 2), 1)
    fn.__defaults__ = (10,)
    assert submit(fn) == ((10, 2), 1)
    fn.__kwdefaults__ = {"b": 20}
    assert submit(fn) == ((10, 20), 1)
    assert submit(fn) == ((10, 20), 0)


def test_what_has_a_state_is_as_it_is_at_each_submit(submit: Counting) -> None:
    adder = OfAModule(1)
    partial = functools.partial(operator.add, [1])
    assert submit(adder.method, 1)[0] == 2
    assert submit(partial, [2])[0] == [1, 2]
    adder.x = 10
    partial.args[0].append(5)
    assert submit(adder.method, 1)[0] == 11
    assert submit(partial, [2])[0] == [1, 5, 2]
    assert submit(OfAModule.make, 3)[0] == OfAModule(3)
    assert submit([3, 1].index, 1)[0] == 1


def test_many_functions_of_one_code(submit: Counting) -> None:
    def make(n: int) -> Any:
        return lambda: n

    assert [submit(make(n))[0] for n in range(30)] == list(range(30))


def test_a_function_that_is_dropped_is_forgotten(executor: Executor) -> None:
    data = bytearray(100_000)
    fn = lambda: len(data)  # noqa: E731
    gone = weakref.ref(fn)
    assert executor.submit(fn).result(30) == 100_000
    del fn
    gc.collect()
    assert gone() is None


def test_recursive_functions(submit: Counting) -> None:
    def factorial(n: int) -> int:
        return 1 if n == 0 else n * factorial(n - 1)

    assert submit(factorial, 5) == (120, 1)
    assert submit(factorial, 6) == (720, 0)


@pytest.mark.parametrize(
    ("fn", "name"),
    [
        (of_a_module, "of_a_module"),
        (OfAModule(1).method, "OfAModule.method"),
        (functools.partial(of_a_module, 1), "of_a_module"),
        (OfAModule, "OfAModule"),
        (lambda: 0, "<lambda>"),
        (len, "len"),
    ],
)
def test_keys_begin_with_a_name_for_people(executor: Executor, fn: Any, name: str) -> None:
    future = executor.submit(fn)
    future.exception(30)
    assert future.key.startswith(f"{name}-")


def test_a_function_is_known_before_any_thread_uses_it() -> None:
    """Threads that submit a new function at once: no task may come to the scheduler before the function."""
    import threading

    with Executor(1, backend="threads") as ex:
        for _ in range(200):
            name = f"fresh_{_}"
            namespace: dict[str, object] = {}
            exec(f"def {name}(): return 1", namespace)
            barrier = threading.Barrier(4)
            results: list[object] = []

            def submit(fn: object = namespace[name], barrier: threading.Barrier = barrier) -> None:
                barrier.wait()
                results.append(ex.submit(fn).result(30))  # type: ignore[arg-type]

            threads = [threading.Thread(target=submit) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert results == [1] * 4


def test_functions_of_a_client_that_is_gone_are_told_anew() -> None:
    """A worker tells functions for the tasks of several clients."""
    died: list[str] = []
    scope = pickling.Scope("client")
    table = FunctionTable(PickleCodec(None, scope).dump_function, died.append, scope)
    function_id, _, news, _ = table.look_up(operator.neg)
    assert news is not None
    table.mark_registered(function_id)
    table.forget("another client")
    assert table.look_up(operator.neg)[2] is None
    table.forget("client")
    assert died == [function_id]
    assert table.look_up(operator.neg)[2] == news
