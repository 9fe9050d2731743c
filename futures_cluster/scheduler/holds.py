"""The interest that shared objects have in tasks.

Covers: keeping a task and its result while its key is in a shared object, as if that were a client with a future of
it. Does not cover: the shared objects (``shared``).

To the rest of the machine all shared objects together are one more name in a task's ``wanted_by``. So a task that
failed is remembered, a result that was lost is computed again, and cancelling one client's future cancels nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from futures_cluster.messages import CANCELLED, Key
from futures_cluster.scheduler.state import SHARED, State, Task
from futures_cluster.scheduler.transitions import Transitions


class Holds:
    """Counts how often each key is held; a part of the machine.

    Parameters
    ----------
    want : callable
        ``want(task, client)``: the client wants the result of a task that is there already.
    """

    def __init__(self, change: Transitions, want: Callable[[Task, str], None]) -> None:
        self._change = change
        self._state: State = change.state
        self._outbox = change.outbox
        self._want = want
        self._cancelled: dict[Key, None] = {}

    def keep(self, key: Key) -> None:
        """Hold a key once more; if there is no such task, it is counted all the same."""
        held = self._state.held
        held[key] = held.get(key, 0) + 1
        task = self._state.tasks.get(key)
        if task is not None and SHARED not in task.wanted_by:
            self._cancelled.pop(key, None)
            self._want(task, SHARED)

    def let_go(self, key: Key) -> None:
        """Hold a key once less."""
        held = self._state.held
        held[key] -= 1
        if not held[key]:
            del held[key]
            self._cancelled.pop(key, None)
            task = self._state.tasks.get(key)
            if task is not None:
                self._change.lose_interest(task, SHARED)

    def is_cancelled(self, key: Key) -> bool:
        """Whether a task that is held was cancelled, because something it needed was."""
        return key in self._cancelled

    def take_news(self) -> None:
        """Take what the outbox has for the shared objects as if they were a client: nobody is to be sent that."""
        outbox = self._outbox
        outbox.running.pop(SHARED, None)
        outbox.recomputing.pop(SHARED, None)
        for key, status, _, _, _ in outbox.done.pop(SHARED, ()):
            if status == CANCELLED and key in self._state.held:
                self._cancelled[key] = None
