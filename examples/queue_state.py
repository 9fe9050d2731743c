"""The state of a queue, for the scheduler: items in order, each for one consumer, with or without a limit."""

from __future__ import annotations

from collections import deque
from typing import Any

from futures_cluster.channels import Item, Request, SharedState, register


@register
class QueueState(SharedState):
    kind = "queue"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.maxsize: int | None = None
        self.items: deque[Item] = deque()
        self.putting: dict[Request, Item] = {}  # producers that wait for room, the oldest first
        self.getting: dict[Request, None] = {}  # consumers that wait for an item, the oldest first

    def on_open(self, request: Request, options: dict[str, Any]) -> None:
        if options.get("maxsize") is not None:
            self.maxsize = int(options["maxsize"])
        self.reply(request)
        self.move()

    def on_put(self, request: Request, value: Any) -> None:
        self.putting[request] = self.item(value)
        self.move()

    def on_get(self, request: Request) -> None:
        self.getting[request] = None
        self.move()

    def on_put_back(self, request: Request, value: Any) -> None:
        item = self.item(value)
        self.keep(item)
        self.items.appendleft(item)
        self.move()

    def on_length(self, request: Request) -> None:
        self.reply(request, len(self.items))

    def move(self) -> None:
        """Serve whoever can be served: producers as long as there is room, consumers as long as there are items."""
        while True:
            if self.putting and (self.maxsize is None or len(self.items) < self.maxsize):
                producer, item = next(iter(self.putting.items()))
                del self.putting[producer]
                self.keep(item)  # the tasks behind the futures in it go on, whoever put them
                self.items.append(item)
                self.reply(producer)
            elif self.getting and self.items:
                consumer = next(iter(self.getting))
                del self.getting[consumer]
                item = self.items.popleft()
                self.reply(consumer, item)  # from now on the consumer keeps them alive
                self.let_go(item)
            else:
                return

    def withdrawn(self, request: Request) -> None:
        self.putting.pop(request, None)
        self.getting.pop(request, None)
