"""Facts about a call that follow from others: the key of a pure one, the priority of one that a task submits, and what
is wrong with its arguments.

Covers: these three. Does not cover: submitting (``client``).
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import replace
from typing import Any

from futures_cluster.messages import Key, Payload, TaskOptions
from futures_cluster.numbers import MOST_PRIORITY
from futures_cluster.services.functions import OWNED_BY


@functools.lru_cache(1000)
def inherit(options: TaskOptions, priority: int) -> TaskOptions:
    """The options of a task that another one of this priority submits: its own priority counts from there.

    Otherwise the children of an urgent task would run after unrelated tasks, while it waits for them.
    """
    total = max(-MOST_PRIORITY, min(MOST_PRIORITY, options.priority + priority))
    return replace(options, priority=total)


def pure_key(name: str, function_id: str, payload: Payload, inputs: list[str]) -> Key:
    """The same for equal calls: of the function's content, the arguments' content and the inputs' keys."""
    digest = hashlib.sha1(function_id.partition(OWNED_BY)[0].encode(), usedforsecurity=False)
    if type(payload) is bytes:
        digest.update(payload)
    elif type(payload) is tuple:
        from futures_cluster.wire import shm

        reference = payload[1]
        if payload[0] is not None:
            digest.update(payload[0])
        for view in shm.open_segment(reference) if reference[0] == "shm" else [part.view for part in reference[1]]:
            digest.update(view)
    else:  # objects in this process: equal only if they are the same, or of Python's simple types
        for part in (*payload.args, *sorted(payload.kwargs.items())):
            digest.update(repr(part if isinstance(part, (str, int, float, bytes, tuple)) else id(part)).encode())
    for key in inputs:
        digest.update(key.encode(errors="surrogatepass"))
    return f"{name}-{digest.hexdigest()}"


def not_sendable(future: Any) -> TypeError:
    """The error of a call that has a future among its arguments whose result the workers cannot get."""
    return TypeError(
        f"{future!r} cannot be sent to a worker: it was released, or belongs to another executor; "
        "pass its result() instead"
    )
