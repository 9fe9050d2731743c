"""Small builders for tests of the worker machine."""

from __future__ import annotations

from typing import Any

from futures_cluster import messages as m
from futures_cluster.messages import Message
from futures_cluster.worker import invariants
from futures_cluster.worker.machine import WorkerMachine


class Desk:
    """A worker machine that is checked after each event."""

    def __init__(self, slots: int = 1, most_runs: int | None = None) -> None:
        self.machine = WorkerMachine("w", slots, most_runs)

    def given(self, event: Message) -> list[Any]:
        """An event of which the test is not about; the commands, with runs as (key, attempt)."""
        commands: list[Any] = self.machine.handle(event, 0.0)
        invariants.check(self.machine)
        return [
            m.ExecuteRuns([(run.key, run.attempt) for run in command.runs])
            if isinstance(command, m.ExecuteRuns)
            else command
            for command in commands
        ]

    def expect(self, event: Message, *commands: Any) -> None:
        """Exactly these commands follow."""
        assert self.given(event) == list(commands)

    def quiet(self, event: Message) -> None:
        """Nothing follows."""
        self.expect(event)

    def data(self) -> dict[str, bool]:
        """Whether each replica is held (else it is fetched)."""
        return {key: replica.held for key, replica in self.machine.replicas.items()}


def row(
    key: str,
    attempt: int = 1,
    inputs: tuple[Any, ...] = (),
    flags: int = 0,
    priority: tuple[int, int, int] = (0, 0, 1),
) -> tuple[Any, ...]:
    """A row of ``RunTasks``."""
    return (key, attempt, "f", b"args", priority, inputs, flags)


def remote(key: str, *holders: str) -> tuple[Any, ...]:
    """An input that has to be fetched."""
    return (key, 10, None, tuple((name, f"at {name}") for name in holders))


def execute(*identities: tuple[str, int]) -> m.ExecuteRuns:
    return m.ExecuteRuns(list(identities))


def ended(key: str, attempt: int = 1, payload: Any = b"result") -> m.RunsEnded:
    return m.RunsEnded([(key, attempt, payload, 6, 0.1)])


def fetch(holder: str, *keys: str) -> m.FetchData:
    return m.FetchData(holder, f"at {holder}" if holder else "", list(keys))


def arrived(holder: str, *keys: str) -> m.FetchEnded:
    return m.FetchEnded(holder, [(key, 10) for key in keys])


def missing(holder: str, *keys: str) -> m.FetchEnded:
    return m.FetchEnded(holder, [], list(keys))
