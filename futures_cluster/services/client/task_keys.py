"""Facts about a call that follow from others: the key of a pure one, the priority of one that a task submits, and what
is wrong with its arguments.

Covers: these three. Does not cover: submitting (``client``).
"""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING, Any

from futures_cluster.messages import Key, Payload, TaskOptions
from futures_cluster.numbers import MAX_PRIORITY
from futures_cluster.services.client.function_table import OWNED_BY

if TYPE_CHECKING:
    from futures_cluster.services.common.protocols import ClientFuture


@functools.lru_cache(1000)
def inherit(options: TaskOptions, priority: int) -> TaskOptions:
    """Return a task's options, whose priority counts from that of its parent.

    Otherwise the children of an urgent task would run after unrelated tasks, while it waits for them.
    """
    total = max(-MAX_PRIORITY, min(MAX_PRIORITY, options.priority + priority))
    return options._replace(priority=total)


def pure_key(name: str, function_id: str, payload: Payload, inputs: list[str]) -> Key | None:
    """Return the same key for equal calls: by function, arguments and inputs.

    None if the arguments are objects of this process that do not pickle: nothing else tells whether two of them are
    equal, because addresses are used again.
    """
    if type(payload) is not bytes and type(payload) is not tuple:
        from futures_cluster.wire.codec import pickle_codec

        try:
            payload, inputs, _ = pickle_codec.PickleCodec(None).dump_call(payload.args, payload.kwargs, True)
        except Exception:
            return None
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


def not_sendable(future: ClientFuture) -> TypeError:
    """Return the error of a call with a future that workers cannot get.

    The future is among the arguments of the call.
    """
    return TypeError(
        f"{future!r} cannot be sent to a worker: it was released, or belongs to another executor; "
        "pass its result() instead"
    )
