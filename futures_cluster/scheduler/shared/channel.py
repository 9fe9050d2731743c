"""The state of a channel: a rolling buffer of items in the order in which they came.

Covers: the items in the buffer, and the readers that wait for more. Does not cover: readers' positions, which they tell
with each request; the handle (``channels``).

Items are numbered from 0. The buffer has those from ``first`` on; what does not fit drops out of it at its old end,
and the tasks in it are let go. A reader asks for what comes from its position on: it gets a batch, or waits for the
next ``put`` or for ``close``.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Any

from futures_cluster import numbers
from futures_cluster.scheduler.shared.objects import Item, Request, SharedState, register

#: Items in the buffer, unless ``maxlen`` says something else.
DEFAULT_MAXLEN = 10_000
#: The values in the buffer take no more than this, whatever ``maxlen`` is.
MAX_BYTES = 64 * 2**20
#: A batch for a reader has no more bytes, unless it is a single item.
BATCH_BYTES = 2**20


@register
class ChannelState(SharedState):
    """See the module.

    Attributes
    ----------
    items : deque of Item
        What is there.
    first : int
        The number of the first of them.
    """

    kind = "channel"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.items: deque[Item] = deque()
        self.first = 0
        self.closed = False
        self.size_bytes = 0
        self.waiting: dict[Request, int] = {}  # readers at the end, and how many items each wants
        self._maxlen: int | None = None  # as a client has set it

    @property
    def maxlen(self) -> int:
        """The most items in the buffer."""
        return DEFAULT_MAXLEN if self._maxlen is None else self._maxlen

    def on_open(self, request: Request, options: dict[str, Any]) -> None:
        """Open the channel; the first ``maxlen`` that is given holds for all."""
        maxlen = options.get("maxlen")
        if maxlen is not None:
            if type(maxlen) is not int or not 1 <= maxlen <= numbers.MAX_COUNT:
                raise ValueError(f"maxlen must be a whole number from 1 to {numbers.MAX_COUNT}, or None")
            if self._maxlen not in (None, maxlen):
                text = f"the channel {self.name!r} has maxlen={self._maxlen}; open it with the same, or without any"
                self.refuse(request, text)
                return
            self._maxlen = maxlen
            self._roll()
        self.reply(request)

    def on_put(self, request: Request, values: tuple[Any, ...]) -> None:
        """Append items."""
        items = [self.item(value) for value in values]
        if self.closed:
            self.refuse(request, f"the channel {self.name!r} is closed and takes nothing more", "ChannelClosed")
            return
        position = self.first + len(self.items)
        for item in items:
            self.keep(item)
            self.size_bytes += item.size_bytes
        self.items.extend(items)
        self.reply(request)
        waiting, self.waiting = self.waiting, {}
        for reader, most in waiting.items():  # before anything rolls out: they were there in time
            self._give(reader, position, most)
        self._roll()

    def _roll(self) -> None:
        while len(self.items) > self.maxlen or (self.size_bytes > MAX_BYTES and len(self.items) > 1):
            item = self.items.popleft()
            self.first += 1
            self.size_bytes -= item.size_bytes
            self.let_go(item)

    def on_next(self, request: Request, serial: int, position: int, most: int) -> None:
        """Reply with (serial, first number, whether it is the end, items).

        A reader that has not read yet says 0 for the serial.
        """
        if not all(type(number) is int and 0 <= number < 2**63 for number in (serial, position, most)):
            raise ValueError("a reader says its position in whole numbers from 0 on")  # now, and not at another's put
        if serial and serial != self.serial:
            self.refuse(request, f"the channel {self.name!r} was deleted, and another one has its name")
            return
        position = max(position, self.first) if serial else self.first
        if position < self.first + len(self.items):
            self._give(request, position, max(1, most))
        elif self.closed:
            self.reply(request, self.serial, position, True, ())
        else:
            self.waiting[request] = max(1, most)

    def _give(self, request: Request, position: int, most: int) -> None:
        start = position - self.first
        batch: list[Item] = []
        size_bytes = 0
        for item in islice(self.items, start, start + most):
            size_bytes += item.size_bytes
            if batch and size_bytes > BATCH_BYTES:
                break
            batch.append(item)
        self.reply(request, self.serial, position, False, batch)

    def on_close(self, request: Request) -> None:
        """Close the channel; readers that wait are at its end."""
        self.closed = True
        self.reply(request)
        waiting, self.waiting = self.waiting, {}
        for reader in waiting:
            self.reply(reader, self.serial, self.first + len(self.items), True, ())

    def on_facts(self, request: Request) -> None:
        """Reply with (items in the buffer, whether it is closed, maxlen)."""
        self.reply(request, len(self.items), self.closed, self.maxlen)

    def withdrawn(self, request: Request) -> None:
        """See ``SharedState``."""
        self.waiting.pop(request, None)
