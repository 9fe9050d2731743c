"""The tasks of the checks: functions of a module, which every worker can import.

Covers: what runs on workers. Does not cover: what is checked.
"""

from __future__ import annotations

import concurrent.futures
import threading
import warnings
from typing import Any

from futures_cluster import clocks
from futures_cluster.as_completed import as_completed
from futures_cluster.context import current_executor
from futures_cluster.executor import Executor
from futures_cluster.testing.engine_checks.harness import TIMEOUT_S
from futures_cluster.testing.engine_checks.shared_folder import SharedFolder


def same(value: Any) -> Any:
    return value


def everything(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
    return args, kwargs


def begin_and_wait(folder: SharedFolder, begun: object, until: object, value: Any = None) -> Any:
    folder.set(begun)
    folder.wait(until)
    return value


def log_line(folder: SharedFolder, line: object) -> object:
    folder.log(line)
    return line


def count(folder: SharedFolder, name: str) -> int:
    """How many calls there were with this name."""
    return folder.count_call(name)


def fail(text: str = "on purpose") -> None:
    raise ValueError(text)


def fail_because() -> None:
    try:
        fail("the cause")
    except ValueError as error:
        raise KeyError("the effect") from error


def unpicklable() -> Any:
    return threading.Lock()


def fail_unpicklably() -> None:
    raise ValueError("with a lock", threading.Lock())


class NotOnArrival:
    """Pickles, but does not unpickle."""

    def __reduce__(self) -> Any:
        return fail, ("it does not unpickle",)


class OwnInit(Exception):
    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code


def fail_own_init() -> None:
    raise OwnInit(7, reason="why")


class Adder:
    def __init__(self, n: int) -> None:
        self.n = n

    def __call__(self, x: int) -> int:
        return x + self.n

    def method(self, x: int) -> int:
        return x + self.n


class Box:
    def __init__(self, content: Any) -> None:
        self.content = content


def outcome(folder: SharedFolder, table: dict[int, list[str]], item: int) -> int:
    """Fail or not, as the table says of this item and attempt."""
    attempt = folder.count_call(f"item-{item}")
    if table[item][attempt - 1] == "fail":
        raise ValueError(f"attempt {attempt} of {item}")
    return item


def fib(n: int) -> int:
    if n < 2:
        return n
    ex = current_executor()
    one, two = ex.submit(fib, n - 1), ex.submit(fib, n - 2)
    return int(one.result() + two.result())


def descend(n: int) -> int:
    return 0 if n == 0 else 1 + current_executor().submit(descend, n - 1).result()


def wait_for_children(how: str, count: int) -> int:
    ex = current_executor()
    futures = [ex.submit(same, i) for i in range(count)]
    if how == "wait":
        done, not_done = concurrent.futures.wait(futures, TIMEOUT_S)
        assert not not_done
        return sum_results(done)
    if how == "stdlib":
        return sum_results(concurrent.futures.as_completed(futures, TIMEOUT_S))
    if how == "as_completed":
        return sum_results(as_completed(futures, TIMEOUT_S))
    if how == "map":
        return sum(ex.map(same, range(count)))
    return sum(ex.gather(futures))


def sum_results(futures: Any) -> int:
    return sum(future.result() for future in futures)


def cancel_all() -> int:
    return int(current_executor().cancel_all())


def submit_and_leave(folder: SharedFolder, name: str) -> None:
    current_executor().submit(folder.set, name)


def make_executor_inside() -> tuple[list[str], int]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with Executor() as ex:
            value = ex.submit(same, 5).result()
    return [str(one.message) for one in caught], value


_initialized_with: Any = None


def initialize(value: Any) -> None:
    global _initialized_with
    _initialized_with = value


def read_initialized() -> Any:
    return _initialized_with


def fail_to_initialize() -> None:
    raise ValueError("the initializer fails on purpose")


def large() -> Any:
    try:
        import numpy as np
    except ModuleNotFoundError:
        return bytearray(3_000_000)
    return np.ones(1_000_000)


def change(value: Any) -> Any:
    """Change a value in place, and return it."""
    if isinstance(value, list):
        value.append("changed")
    else:
        value["a"][0][0] += 1
    return value


def in_turn(folder: SharedFolder, number: int) -> int:
    """How many of these tasks run now."""
    folder.set(f"inside-{number}")
    count = sum(name.startswith("inside-") for name in folder.names())
    clocks.sleep(0.01)
    (folder.path / f"inside-{number}").unlink()
    return count
