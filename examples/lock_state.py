"""The state of a lock, for the scheduler: who has it, and who waits for it."""

from __future__ import annotations

from futures_cluster.channels import Request, SharedState, register


@register
class LockState(SharedState):
    kind = "lock"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.owner: tuple[str, str] | None = None  # (client, token)
        self.waiting: dict[Request, str] = {}  # the oldest first, with their tokens

    def on_acquire(self, request: Request, token: str) -> None:
        self.waiting[request] = token
        self.hand_over()  # answers the request now, or a later call does

    def on_release(self, request: Request, token: str) -> None:
        if self.owner != (request.client, token):
            self.refuse(request, f"the lock {self.name!r} is not held by who releases it")
            return
        self.owner = None
        self.reply(request)
        self.hand_over()

    def hand_over(self) -> None:
        if self.owner is None and self.waiting:
            request, token = next(iter(self.waiting.items()))
            del self.waiting[request]
            self.owner = (request.client, token)
            self.reply(request)

    def withdrawn(self, request: Request) -> None:
        self.waiting.pop(request, None)

    def client_left(self, client: str) -> None:
        if self.owner is not None and self.owner[0] == client:
            self.owner = None
            self.hand_over()
