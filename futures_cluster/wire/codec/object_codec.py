"""Payloads that are the objects themselves, for shared objects whose clients are engines of this process.

Covers: the part of ``pickle_codec.PickleCodec``'s interface that these need, without pickling: values are shared, not
copied. Does not cover: the arguments of calls (``arguments``), and running these (``engines.inprocess``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from futures_cluster.messages import Payload, Reference
from futures_cluster.wire.codec import arguments
from futures_cluster.wire.codec.sizeof import sizeof


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

    def dump_call(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], resolve: bool
    ) -> tuple[Payload, list[str], list[Reference]]:
        """Return the arguments, the keys of futures to replace, and these futures."""
        if not resolve:
            return Call(args, kwargs, {}, set()), [], []
        found = arguments.find(args, kwargs)
        return Call(args, kwargs, found.keys, found.inside), list(found.keys), list(found.references.values())

    def load_call(self, payload: Payload, inputs: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments, with values in the place of futures."""
        if not payload.keys:
            return payload.args, payload.kwargs
        by_key = {key: inputs[index] for key, index in payload.keys.items()}
        return arguments.replace(
            payload.args, payload.kwargs, payload.inside, lambda future: by_key.get(future.key, future)
        )

    def call_size(self, payload: Payload) -> int:
        """Return about the bytes of a call's arguments, with keys for futures."""
        args: tuple[Any, ...] = payload.args
        if payload.keys:
            args, _ = arguments.replace(args, {}, payload.inside, lambda future: future.key)
        return sum(sizeof(arg) for arg in args)

    def load(self, payload: Payload) -> Any:
        """Return the object itself."""
        return payload

    def load_error(self, payload: Payload) -> BaseException:
        """Return the exception itself."""
        error: BaseException = payload
        return error

    def release(self, payload: Payload) -> None:
        """Do nothing: there is nothing to give back."""
