"""Every exception that users can meet.

Covers: the classes and what each means. Does not cover: where they are raised; those that derive from errors of the
standard library's pools are in ``pool_errors``, which loads multiprocessing, and is loaded when one of them is used.
Classes derive from the standard library's where existing ``except`` clauses should go on working:
``WorkerDied`` is a ``BrokenProcessPool``, a task that ran out of time is a ``TimeoutError``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, InvalidStateError
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from futures_cluster.pool_errors import DeserializationError, InitializerFailed, ThreadInitializerFailed, WorkerDied

__all__ = [
    "AuthenticationError",
    "BrokenExecutor",
    "CancelledError",
    "ChannelClosed",
    "DataLost",
    "DeserializationError",
    "DuplicateKey",
    "ForkedExecutor",
    "HandshakeError",
    "InitializerFailed",
    "InputChanged",
    "InvalidSecret",
    "InvalidStateError",
    "LimitError",
    "NotSendable",
    "NotSupported",
    "ProtocolError",
    "RemoteError",
    "SchedulerLost",
    "SecretMissing",
    "SharedObjectError",
    "TaskTimeout",
    "ThreadInitializerFailed",
    "VersionMismatch",
    "WorkerDied",
]


class NotSupported(NotImplementedError):
    """The chosen backend cannot do this; the message names an alternative.

    Examples
    --------
    >>> from futures_cluster import Executor
    >>> with Executor(backend="sync") as ex:  # doctest: +ELLIPSIS
    ...     ex.restart_workers()
    Traceback (most recent call last):
        ...
    futures_cluster.errors.NotSupported: ...
    """


class DataLost(RuntimeError):
    """A result is gone: the executor was shut down, or data was lost that no task can compute again."""


class DuplicateKey(ValueError):
    """The key that was chosen for a task belongs to another call.

    Examples
    --------
    >>> from futures_cluster import Executor
    >>> with Executor(backend="sync") as ex:  # doctest: +ELLIPSIS
    ...     total = ex.with_options(key="total").submit(sum, [1, 2])
    ...     ex.with_options(key="total").submit(sum, [3, 4])
    Traceback (most recent call last):
        ...
    futures_cluster.errors.DuplicateKey: ...
    """


class SchedulerLost(BrokenExecutor):
    """The scheduler is gone, and unfinished tasks are lost; create a new executor."""


class ForkedExecutor(RuntimeError):
    """A forked copy of a process used an executor that belongs to its parent."""


class TaskTimeout(TimeoutError):
    """A task ran longer than ``with_options(timeout=...)`` allows, and was stopped.

    It is a ``TimeoutError``, like the error of ``Future.result(timeout)``, after which the task goes on.

    Examples
    --------
    >>> import time
    >>> from futures_cluster import Executor
    >>> with Executor(1, backend="threads") as ex:  # doctest: +ELLIPSIS
    ...     ex.with_options(timeout=0.01).submit(time.sleep, 0.2).result()
    Traceback (most recent call last):
        ...
    futures_cluster.errors.TaskTimeout: ...
    """


class InputChanged(RuntimeError):
    """A task changed an input in place; only looked for when ``FUTURES_CLUSTER_DEBUG`` is set."""


class NotSendable(ValueError):
    """A call or a result does not fit into a message: too many buffers, a function over 4 GiB, an int over 64 bits."""


class LimitError(ValueError):
    """A task asked for a limit that is not declared, or for more than the limit."""


class RemoteError(RuntimeError):
    """An exception of a task that does not pickle, in words.

    The message holds the type, the text and the whole remote traceback of the original.
    """


class ProtocolError(RuntimeError):
    """A peer sent bytes that are no valid message."""


class HandshakeError(ConnectionError):
    """A connection was made, but the two sides did not agree to talk; the message says what to do."""


class AuthenticationError(HandshakeError):
    """The secret or the certificate of one side is missing, or does not match the other side's."""


class SecretMissing(AuthenticationError):
    """An address needs a secret, and this process finds none."""


class InvalidSecret(AuthenticationError, ValueError):
    """The secret that this process finds cannot be used: it is unreadable, too short, or not a text."""


class VersionMismatch(HandshakeError):
    """The two sides have versions (of this package, Python, cloudpickle) that do not go together."""


class SharedObjectError(RuntimeError):
    """A channel or another shared object refused a request; the message says why."""


class ChannelClosed(SharedObjectError):
    """An item was put into a channel that is closed.

    Examples
    --------
    >>> from futures_cluster import Executor
    >>> with Executor(backend="sync") as ex:  # doctest: +ELLIPSIS
    ...     channel = ex.channel("results")
    ...     channel.close()
    ...     channel.put(1)
    Traceback (most recent call last):
        ...
    futures_cluster.errors.ChannelClosed: ...
    """


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from futures_cluster import pool_errors

        value = globals()[name] = getattr(pool_errors, name)
        return value


def make_error(payload: Any, load_error: Callable[[Any], BaseException]) -> BaseException:
    """Return the exception of an error payload, of the scheduler or of a task."""
    if type(payload) is dict:
        error: BaseException = getattr(sys.modules[__name__], payload["kind"])(payload["text"])
        return error
    return load_error(payload)
