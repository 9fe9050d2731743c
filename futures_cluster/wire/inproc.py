"""Payloads that are the objects themselves, for workers that are threads of the client's process.

Covers: the same interface as ``serialize.PickleCodec``, without pickling: arguments and results are shared, not
copied. Does not cover: moving messages; inside one process they are handed over as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from futures_cluster.messages import Payload, Reference
from futures_cluster.wire import arguments
from futures_cluster.wire.sizeof import sizeof


class Cell:
    """Holds one object. It can be emptied before all who have the cell let go of it."""

    __slots__ = ("content",)

    def __init__(self, content: Any) -> None:
        self.content = content


class Call:
    """The arguments of a call, and which futures in them are to be replaced, where."""

    __slots__ = ("args", "inside", "keys", "kwargs")

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any], keys: dict[str, int], inside: set[int]) -> None:
        self.args = args
        self.kwargs = kwargs
        self.keys = keys
        self.inside = inside


class ObjectCodec:
    """What a client and its workers agree on when they share memory."""

    tells_functions = False  # each call has its own, so that nothing else keeps it alive

    def dump_function(self, fn: Callable[..., Any]) -> Payload:
        """The function in a cell."""
        return Cell(fn)

    def load_function(self, payload: Payload) -> Callable[..., Any]:
        """The function itself."""
        fn: Callable[..., Any] = payload.content
        return fn

    def dump_call(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], resolve: bool
    ) -> tuple[Payload, list[str], list[Reference]]:
        """The arguments themselves, the keys of the futures to replace, and these futures."""
        if not resolve:
            return Call(args, kwargs, {}, set()), [], []
        found = arguments.find(args, kwargs)
        return Call(args, kwargs, found.keys, found.inside), list(found.keys), list(found.references.values())

    def load_call(self, payload: Payload, inputs: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments, with values in the place of futures."""
        if not payload.keys:
            return payload.args, payload.kwargs
        by_key = {key: inputs[index] for key, index in payload.keys.items()}
        return arguments.replace(
            payload.args, payload.kwargs, payload.inside, lambda future: by_key.get(future.key, future)
        )

    def call_size(self, payload: Payload) -> int:
        """Bytes of the arguments in the payload of ``dump_call``, roughly, with keys in the place of futures."""
        args: tuple[Any, ...] = payload.args
        if payload.keys:
            args, _ = arguments.replace(args, {}, payload.inside, lambda future: future.key)
        return sum(sizeof(arg) for arg in args)

    def dump_result(self, value: Any, keep: bool) -> tuple[Payload | None, int]:
        """The result in a cell: it is everywhere at once, so it never stays behind."""
        return Cell(value), sizeof(value)

    def dump_error(self, error: BaseException) -> Payload:
        """The exception in a cell."""
        return Cell(error)

    def load(self, payload: Payload) -> Any:
        """The object."""
        return payload.content

    def load_error(self, payload: Payload) -> BaseException:
        """The exception."""
        error: BaseException = payload.content
        return error

    def release(self, payload: Payload) -> None:
        """Nothing to give back."""

    def forget_result(self, payload: Payload, used: bool) -> None:
        """The last future is gone: let go of the object now, unless a task may still need it.

        Errors are kept: all tasks that fail with one share its cell.
        """
        if not used and type(payload) is Cell and not isinstance(payload.content, BaseException):
            payload.content = None
