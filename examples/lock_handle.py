"""The handle of a lock: a context manager, for clients and tasks."""

from __future__ import annotations

import uuid
from typing import Self

from futures_cluster.channels import SharedHandle


class Lock(SharedHandle):
    kind = "lock"
    token: str | None = None  # while this handle holds the lock

    def acquire(self, timeout: float | None = None) -> bool:
        token = uuid.uuid4().hex
        try:
            # If Ctrl-C comes just when the lock is given, nobody would release it; so "undo" does.
            self.ask("acquire", token, timeout=timeout, undo=lambda answer: self.tell("release", token))
        except TimeoutError:
            return False
        self.token = token
        return True

    def release(self) -> None:
        token, self.token = self.token, None
        if token is None:
            raise RuntimeError(f"{self!r} does not hold the lock")
        self.ask("release", token)

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()
