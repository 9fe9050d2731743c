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
    """The chosen backend cannot do this; the message names an alternative."""


class DataLost(RuntimeError):
    """A result is gone (the executor was shut down, or data that cannot be computed again was lost)."""


class DuplicateKey(ValueError):
    """The key that was chosen for a task belongs to another call."""


class SchedulerLost(BrokenExecutor):
    """The scheduler went away; nothing that was unfinished will finish."""


class ForkedExecutor(RuntimeError):
    """A forked copy of a process used an executor that belongs to its parent."""


class TaskTimeout(TimeoutError):
    """A task ran longer than ``with_options(timeout=...)`` allows, and was stopped."""


class InputChanged(RuntimeError):
    """A task changed an input in place; only looked for when ``FUTURES_CLUSTER_DEBUG`` is set."""


class NotSendable(ValueError):
    """A call or a result does not fit into a message: too many buffers, a function over 4 GiB, an int over 64 bits."""


class LimitError(ValueError):
    """A task asked for a limit that is not declared, or for more than the limit."""


class RemoteError(RuntimeError):
    """Stands for an exception of a task that could not itself be pickled.

    The message holds the type, the text and the whole remote traceback of the original.
    """


class ProtocolError(RuntimeError):
    """A peer sent bytes that are not a message of ours."""


class HandshakeError(ConnectionError):
    """A connection was made, but the two sides did not agree to talk; the message says what to do."""


class AuthenticationError(HandshakeError):
    """The secret or the certificate of one side is missing or not the other's."""


class SecretMissing(AuthenticationError):
    """An address needs a secret, and this process finds none."""


class InvalidSecret(AuthenticationError, ValueError):
    """The secret that this process finds cannot be used: it is unreadable, too short, or not a text."""


class VersionMismatch(HandshakeError):
    """The two sides have versions (of this package, Python, cloudpickle) that do not go together."""


class SharedObjectError(RuntimeError):
    """A channel or another shared object refused a request; the message says why."""


class ChannelClosed(SharedObjectError):
    """Something was put into a channel that is closed."""


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
