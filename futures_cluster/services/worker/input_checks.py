"""Debug mode: a task that changes an input in place fails, with an error that names the input.

Covers: comparing digests of a task's inputs (the values of futures among its arguments) before and after it ran.
Does not cover: arguments that are not futures, which on threads are the caller's own objects and may be changed;
scattered data, of which each task has its own; objects that do not pickle, which are not looked at.

Why it matters: a value is shared by all tasks of a worker that use it. Which tasks see a change depends on where
they ran, so a program that changes inputs is right on one day and wrong on another.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import Any

from futures_cluster.errors import InputChanged
from futures_cluster.messages import Payload
from futures_cluster.services.worker.execution import Executions, Run
from futures_cluster.services.worker.store import Store
from futures_cluster.wire.codec import payloads, pickling


class CheckedExecutions(Executions):
    """Executions that compare. A task's own exception goes before what this finds."""

    store: Store

    def _guard(self, run: Run, fn: Callable[..., Any], values: list[Any]) -> Callable[..., Any]:
        shared = [
            (key, value)
            for (key, _, payload, _), value in zip(run.inputs, values, strict=True)
            if not self._is_private(key, payload)
        ]
        return checked(run.key, shared, fn)

    def _is_private(self, key: str, payload: Payload | None) -> bool:
        """Return whether an input is scattered data, which tasks may change."""
        return self.store.original(key) is not None if payload is None else payloads.is_private(payload)


def checked(key: str, shared: list[tuple[str, Any]], fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that fails if the task's changes one of these inputs."""
    return functools.partial(_call, key, shared, fn)


def _call(key: str, shared: list[tuple[str, Any]], fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    before = [_digest(value) for _, value in shared]
    result = fn(*args, **kwargs)
    for (name, value), digest in zip(shared, before):
        if digest is not None and _digest(value) != digest:
            raise InputChanged(
                f"{key} changed its input, the result of {name} (a {type(value).__name__}), in place, or another task "
                "did at the same time; other tasks use the same object, so change a copy of it"
            )
    return result


def _digest(value: Any) -> bytes | None:
    """Return the digest of the value's pickle; None if it has none."""
    try:
        data, buffers = pickling.dumps_apart(value)
    except Exception:
        return None
    digest = hashlib.blake2b(data, usedforsecurity=False)
    for buffer in buffers:
        digest.update(buffer)
    return digest.digest()
