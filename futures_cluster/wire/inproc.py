"""Payloads that are the objects themselves, for workers that are threads of the client's process.

Covers: the same interface as ``serialize.PickleCodec``, without pickling: arguments and results are shared, not
copied. Does not cover: moving messages; inside one process they are handed over as they are.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

from futures_cluster.messages import Payload, Reference
from futures_cluster.wire import arguments
from futures_cluster.wire.exception_state import copied
from futures_cluster.wire.pickling import HERE
from futures_cluster.wire.sizeof import sizeof


class Cell:
    """Holds one object. It can be emptied before all who have the cell let go of it."""

    __slots__ = ("__weakref__", "content")

    def __init__(self, content: Any) -> None:
        self.content = content


class OwnError(Cell):
    """Holds the error of one future, and its traceback without what raising it for the caller adds."""

    __slots__ = ("traceback",)

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.traceback = error.__traceback__


class ErrorCell:
    """The error of a task, until the futures have it: each its own cell, which this one only finds again.

    The first future gets the exception itself, each other one a copy: ``raise`` adds frames to the traceback of the
    object that is raised, and a frame may hold the future. The scheduler keeps this cell for as long as there is a
    future; if it kept the exception as well, neither would ever go.
    """

    __slots__ = ("_cells", "_error", "_text")

    def __init__(self, error: BaseException) -> None:
        self._error: BaseException | None = error
        self._cells: list[weakref.ref[OwnError]] = []
        self._text = ""

    def own(self) -> Cell:
        """A cell with the error, for one future."""
        error = None if self._cells else self._error
        cell = OwnError(self.error() if error is None else error)
        self._cells.append(weakref.ref(cell, self._cells.remove))
        return cell

    def error(self) -> BaseException:
        """A copy of the error, as long as a future has it."""
        for reference in self._cells.copy():
            cell = reference()
            if cell is not None:
                return copied(cell.content).with_traceback(cell.traceback)
        from futures_cluster.errors import RemoteError

        return self._error or RemoteError(f"{self._text}, and its last future is gone")

    def let_go(self) -> None:
        """Every future that there is has its own cell."""
        if self._error is not None:
            self._text = f"the task failed with {type(self._error).__name__}"
            self._error = None


class _Mark(Reference):
    """Stands for an input in the arguments of a call."""

    def __init__(self, key: str) -> None:
        self.key = key


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

    scope = HERE  # nothing is pickled
    tells_functions = False  # each call has its own, so that nothing else keeps it alive

    def dump_function(self, fn: Callable[..., Any]) -> tuple[Payload, None]:
        """The function in a cell."""
        return Cell(fn), None

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
        references = list(found.references.values())
        keys = found.keys
        if references and not all(map(self._is_own, references)):
            references = [each for each in references if self._is_own(each)]
            keys = {key: index for index, key in enumerate(dict.fromkeys(each.key for each in references))}
        return Call(args, kwargs, keys, found.inside), list(keys), references

    def _is_own(self, reference: Any) -> bool:
        """Whether it is not a future of another executor: those are left alone. One that was released is nobody's."""
        if reference.client is None:
            return bool(reference.key)
        return reference.client.codec is self

    def dump_scattered(self, args: tuple[Any, ...]) -> tuple[Payload, list[str], list[Reference]]:
        """The object itself: all share it."""
        return self.dump_call(args, {}, False)

    def dump_task(self, args: tuple[Any, ...], inputs: Sequence[str], collector: Any) -> Payload:
        """See ``PickleCodec``: marks stand for the inputs."""
        keys = {key: index for index, key in enumerate(inputs)}
        return Call((*args, *[_Mark(key) for key in inputs]), {}, keys, set())

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
        return ErrorCell(error)

    def own_error(self, payload: Payload) -> Payload:
        """What one future keeps of an error."""
        if type(payload) is ErrorCell:
            return payload.own()
        return OwnError(copied(payload.content)) if type(payload) is Cell else payload

    def errors_told(self, payloads: list[Payload]) -> None:
        """All futures that fail with these errors have been told."""
        for payload in payloads:
            if type(payload) is ErrorCell:
                payload.let_go()

    def load(self, payload: Payload) -> Any:
        """The object."""
        return payload.content

    def load_error(self, payload: Payload) -> BaseException:
        """The exception."""
        error: BaseException = payload.error() if type(payload) is ErrorCell else payload.content
        return error

    def release(self, payload: Payload) -> None:
        """Nothing to give back."""

    def forget_result(self, payload: Payload, used: bool) -> None:
        """The last future is gone: let go of the object now, unless a task may still need it."""
        if not used and type(payload) is Cell:
            payload.content = None
