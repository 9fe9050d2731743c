"""The functions that tasks call: known once, told once to each worker, forgotten with their last user.

Covers: what keeps a function (clients that will use it again, tasks that call it), and the groups by name in which
durations are measured. Does not cover: their payloads, which the scheduler never looks into, and telling them to
workers (``outbox``).
"""

from __future__ import annotations

from futures_cluster.messages import Payload
from futures_cluster.scheduler.outbox import Outbox
from futures_cluster.scheduler.records import Function, FunctionStats
from futures_cluster.scheduler.state import State

#: Names of functions whose durations are remembered.
MAX_GROUPS = 10_000


class Functions:
    """Changes what is known of functions; a part of the machine."""

    def __init__(self, state: State, outbox: Outbox) -> None:
        self._state = state
        self._outbox = outbox

    def register(self, function_id: str, name: str, payload: Payload, client: str) -> None:
        """Record a function of a client; others may have it already."""
        function = self._state.functions.get(function_id) or self.add(function_id, name, payload)
        function.held_by[client] = None

    def add(self, function_id: str, name: str, payload: Payload) -> Function:
        """Return a function that is not known."""
        state = self._state
        group = state.groups.get(name)
        if group is None:
            group = state.groups[name] = FunctionStats(name)
            if len(state.groups) > MAX_GROUPS:
                del state.groups[next(iter(state.groups))]
        function = state.functions[function_id] = Function(function_id, group, payload)
        return function

    def release(self, function: Function, client: str) -> None:
        """Drop a client's function, which it sends again before it uses it again."""
        if client in function.held_by:
            del function.held_by[client]
            self.forget_unused(function)

    def leave(self, function: Function) -> None:
        """Count one task less that calls it."""
        function.tasks -= 1
        if not function.tasks:
            self.forget_unused(function)

    def forget_unused(self, function: Function) -> None:
        """Forget the function, unless a task calls it or a client may use it again."""
        if function.tasks or function.held_by:
            return
        del self._state.functions[function.id]
        for name in function.known_by:
            if name in self._state.workers:
                self._outbox.forget.setdefault(name, []).append(function.id)
