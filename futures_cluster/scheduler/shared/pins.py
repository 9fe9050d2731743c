"""The interest that shared objects have in tasks.

Covers: keeping a task and its result while its key is in a shared object, as if that were a client with a future of
it. Does not cover: the shared objects (``objects``).

To the rest of the machine all shared objects together are one more name in a task's ``wanted_by``. So a task that
failed is remembered, a result that was lost is computed again, and cancelling one client's future cancels nothing.
"""

from __future__ import annotations

from futures_cluster.messages import Key
from futures_cluster.scheduler.state import SHARED
from futures_cluster.scheduler.transitions import Part, Transitions


class Pins(Part):
    """Counts how often each key is held.

    Attributes
    ----------
    is_used : bool
        Whether there may be news for the shared objects.
    """

    def __init__(self, transitions: Transitions) -> None:
        super().__init__(transitions)
        self.is_used = False

    def keep(self, key: Key) -> None:
        """Hold a key once more; if there is no such task, it is counted all the same."""
        held = self._state.held
        held[key] = held.get(key, 0) + 1
        task = self._state.tasks.get(key)
        if task is not None and SHARED not in task.wanted_by:
            self.is_used = True
            self._transitions.want_again(task, SHARED)

    def let_go(self, key: Key) -> None:
        """Hold a key once less."""
        held = self._state.held
        held[key] -= 1
        if not held[key]:
            del held[key]
            task = self._state.tasks.get(key)
            if task is not None:
                self._transitions.drop_reference(task, SHARED)

    def drop_news(self) -> None:
        """Take the shared objects' news out of the outbox: they need none."""
        outbox = self._outbox
        outbox.running.pop(SHARED, None)
        outbox.recomputing.pop(SHARED, None)
        outbox.done.pop(SHARED, None)
        self.is_used = bool(self._state.held)
