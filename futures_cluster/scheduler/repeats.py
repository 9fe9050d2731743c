"""Keys that are submitted more than once.

Covers: whether a submit with a known key is the same call again, and refusing it if not. A client that was refused
keeps the key of its failed future until it releases that future; so the scheduler remembers the refusal, and fails the
tasks that have the future among their inputs instead of handing them the other call's result.
Does not cover: how keys are made so that they do not come again (``services.client.client``).
"""

from __future__ import annotations

from collections.abc import Sequence

from futures_cluster.messages import Key, Payload
from futures_cluster.scheduler.records import Task
from futures_cluster.scheduler.transitions import Part, scheduler_error


def duplicate(key: Key) -> Payload:
    """Make the error of a call whose key belongs to another one."""
    text = f"the key {key!r} belongs to another call, whose task the scheduler still has; choose another key"
    return scheduler_error("DuplicateKey", text)


class Repeats(Part):
    """Tells repetitions from collisions."""

    def is_same(self, key: Key, call: str | None) -> bool:
        """Return whether a known key was submitted for this call before."""
        return call is not None and self._state.calls.get(key) == call

    def refuse(self, client: str, key: Key, is_wanted: bool = True) -> None:
        """Fail the client's future of a key that belongs to another call."""
        error = self._state.refused[client, key] = duplicate(key)
        if is_wanted:
            self._outbox.refuse(client, key, error)

    def check_inputs(self, task: Task, client: str, inputs: Sequence[Key]) -> None:
        """Fail a task that has a refused future of its client among its inputs."""
        refused = self._state.refused
        for key in inputs:
            if (client, key) in refused:
                self._transitions.fail(task, refused[client, key])
                return

    def released(self, client: str, keys: list[Key]) -> None:
        """Forget refusals whose futures are gone."""
        for key in keys:
            self._state.refused.pop((client, key), None)

    def client_left(self, client: str) -> None:
        """Forget the refusals of a client that is gone."""
        for pair in [pair for pair in self._state.refused if pair[0] == client]:
            del self._state.refused[pair]
