"""What users' threads leave for the scheduler, packed into as few messages as possible.

Covers: the items of a client's mailbox, and the messages that say the same in the same order. Does not cover: when
the client packs (``client``, ``loop_thread``).

Items, and the way of data::

    (options, depth, row, news, call)   a task, its function if the scheduler does not
                                        know it, what it calls if its key may come again --+
    "key"                               a future is gone                                   +--pack--> messages
    a message                           goes as it is -------------------------------------+

Tasks that follow each other with the same options and depth share a message, as do keys.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from futures_cluster import messages as m
from futures_cluster.messages import Key


def pack(client: str, items: deque[Any], most: int) -> list[m.Message]:
    """Take up to ``most`` items off the left, and return the messages they make.

    Examples
    --------
    >>> task = (m.DEFAULT_OPTIONS, 0, ("b", "f", b"", []), None, None)
    >>> [type(message).__name__ for message in pack("c", deque(["a", task, task]), most=10)]
    ['ReleaseKeys', 'SubmitTasks']
    """
    messages: list[m.Message] = []
    tasks: list[m.TaskRow] = []
    functions: list[m.FunctionRow] = []
    calls: list[m.CallRow] = []
    released: list[Key] | None = None  # of the message that further keys would join
    present: Any = None  # options and depth of the message that further tasks would join
    for _ in range(min(most, len(items))):
        item = items.popleft()
        if type(item) is tuple:
            options, depth, row, news, call = item
            if present is None or present[0] is not options or present[1] != depth:
                tasks, functions, calls, released = [], [], [], None
                messages.append(m.SubmitTasks(client, tasks, functions, options, depth, calls=calls))
                present = (options, depth)
            if news is not None:
                functions.append(news)
            if call is not None:
                calls.append((row[0], call))
            tasks.append(row)
        elif type(item) is str:
            if released is None:
                released, present = [], None
                messages.append(m.ReleaseKeys(client, released))
            released.append(item)
        else:
            messages.append(item)
            released = present = None
    return messages
