"""Sending a batch of which a part cannot be packed: the rest goes out all the same.

Covers: finding that part, and the answer to a question for data that takes the place of one. Does not cover: what
becomes of that part; ``client``, ``scheduler`` and ``worker`` know whose task it belongs to, and let that task fail.

A connection packs all messages of one call into one frame. All text can be packed, but no number over 64 bits, no
pickle over 4 GiB, and no more buffers than a frame may have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from futures_cluster import messages as m
from futures_cluster.errors import NotSendable
from futures_cluster.messages import Message
from futures_cluster.wire.codec import exceptions

#: The rows of each message that is a batch, in the order in which a receiver needs them.
_ROWS: dict[type[Message], tuple[str, ...]] = {
    m.SubmitTasks: ("functions", "tasks"),
    m.RunTasks: ("functions", "runs"),
    m.TasksFinished: ("finished", "failed"),
    m.TasksDone: ("done",),
}


def send_apart(
    send: Callable[[list[Message]], None], messages: list[Message], refuse: Callable[[Any, NotSendable], None]
) -> None:
    """Send messages one by one, after ``send`` has refused them together.

    Parameters
    ----------
    refuse : callable
        ``refuse(message, error)``: what to do with each message that cannot be sent; a batch has one row.
    """
    for message in messages:
        try:
            send([message])
        except NotSendable as error:
            parts = _split(message)
            if len(parts) > 1:
                send_apart(send, parts, refuse)
            else:
                refuse(message, error)


def _split(message: Any) -> list[Message]:
    """Return the message as several of one row each, or itself if it is no batch."""
    names = _ROWS.get(type(message), ())
    if getattr(message, "wanted", None) is not None:
        return [message]
    nothing: dict[str, list[Any]] = {name: [] for name in names}
    parts = [message.replace(**{**nothing, name: [row]}) for name in names for row in getattr(message, name)]
    return parts or [message]


def failed(request: m.GetData | m.RelayData, error: BaseException) -> m.Data:
    """Return an answer in which each result has this error."""
    payload = exceptions.dump_error(error)
    return m.Data(request.request, [], [], [(key, payload) for key in request.keys])
