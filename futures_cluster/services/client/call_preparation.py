"""What every engine settles of a call before it takes it: its key, and what it has from the task that submits it.

Covers: keys that are free, the future of an equal pure call, futures among the arguments that cannot be sent, options
that a child inherits. Does not cover: pickling and submitting, which differ (``client``, ``engines``).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from futures_cluster.context import TaskContext
from futures_cluster.errors import DuplicateKey
from futures_cluster.messages import Key, Payload, TaskOptions
from futures_cluster.numbers import MAX_PRIORITY
from futures_cluster.services.client.function_table import OWNED_BY, function_name


def inherit(options: TaskOptions, parent: TaskContext | None) -> TaskOptions:
    """Return a task's options, whose priority counts from that of its parent.

    Otherwise the children of an urgent task would run after unrelated tasks, while it waits for them.
    """
    return options if parent is None or not parent.priority else _raised(options, parent.priority)


@functools.lru_cache(1000)
def _raised(options: TaskOptions, priority: int) -> TaskOptions:
    total = max(-MAX_PRIORITY, min(MAX_PRIORITY, options.priority + priority))
    return options._replace(priority=total)


def check_free(key: Key, *alive: Mapping[Key, Any]) -> None:
    """Check that no future has a key that the caller has chosen.

    Raises
    ------
    DuplicateKey
        If one does.
    """
    for futures in alive:
        if key in futures:
            raise DuplicateKey(f"the key {key!r} belongs to another future that is alive; choose another key")


def find_equal(key: Key | None, alive: Mapping[Key, Any]) -> Any:
    """Return the future of an equal pure call, by ``pure_key``, or None."""
    future = None if key is None else alive.get(key)
    return None if future is None or future.cancelled() else future


def pure_key_of_objects(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Key | None:
    """Return the ``pure_key`` of a call in this process.

    None if its arguments are objects that do not pickle: nothing else tells whether two of them are equal, because
    addresses are used again.
    """
    from futures_cluster.wire.codec import pickle_codec

    try:
        payload, inputs, _ = pickle_codec.PickleCodec(None).dump_call((fn, *args), kwargs, True)
    except Exception:
        return None
    return pure_key(function_name(fn), "", payload, inputs)


def pure_key(name: str, function_id: str, payload: Payload, inputs: list[str]) -> Key:
    """Return the same key for equal calls: by function, arguments and inputs."""
    parts: list[Any] = [function_id.partition(OWNED_BY)[0].encode(errors="surrogatepass")]
    if type(payload) is bytes:
        parts.append(payload)
    else:
        from futures_cluster.wire.codec import shm

        reference = payload[1]
        parts.append(payload[0] or b"")
        parts += shm.open_segment(reference) if reference[0] == "shm" else [part.view for part in reference[1]]
    digest = hashlib.sha1(usedforsecurity=False)
    for part in (*parts, *[key.encode(errors="surrogatepass") for key in inputs]):
        digest.update(b"%d:" % memoryview(part).nbytes)  # else the end of one could be the beginning of the next
        digest.update(part)
    return f"{name}-{digest.hexdigest()}"


def key_owner(client: str, incarnation: str) -> str:
    """Return the part that all keys of a client have, and no other client's.

    Examples
    --------
    >>> key_owner("w", "7d3a01f2"), key_owner("main", "")
    ('w-7d3a01f2', 'main')
    """
    return f"{client}-{incarnation}" if incarnation else client


def check_own(future: Any, client: Any, use: str) -> None:
    """Check that a future is one of a client's, and has not failed before.

    ``use`` is what the caller should do with its result otherwise, for the error.

    Raises
    ------
    ValueError
        When it is the future of another client.
    BaseException
        The error of one that failed before it came to the client.
    """
    if future._local_error is not None:
        raise future._copy_error()
    if future._client is not client:
        raise ValueError(f"{future!r} was released, or belongs to another executor; {use} its result() instead")


def check_shareable(future: Any, client: Any) -> None:
    """Check that a future may go into a shared object of its client.

    Raises
    ------
    ValueError
        When no other process could get its result.
    BaseException
        As ``check_own``.
    """
    check_own(future, client, "put")
    if future.cancelled():
        raise ValueError(f"{future!r} is cancelled and will never have a result")


def find_refusal(references: Iterable[Any], client: Any) -> BaseException | None:
    """Return why a future among the arguments forbids a call, or None.

    The client may submit only its own futures, and none that failed before it came to the client.
    """
    for future in references:
        if future._client is not client:
            return TypeError(
                f"{future!r} cannot be sent to a worker: it was released, or belongs to another executor; "
                "pass its result() instead"
            )
        if future._local_error is not None:
            error: BaseException = future._copy_error()
            return error
    return None
