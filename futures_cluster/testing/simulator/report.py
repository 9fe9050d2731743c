"""What a simulation tells about how it went.

Covers: the counts and times of one run, what follows from them, and a table for people.
Does not cover: collecting them (``simulation``, ``workers``, ``clients``).
"""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass, field
from typing import Any

from futures_cluster import messages as m
from futures_cluster.messages import Key
from futures_cluster.scheduler.machine import SchedulerMachine


@dataclass(slots=True)
class Report:
    """How a simulation went.

    Attributes
    ----------
    makespan_s : float
        When the clients heard of the last end of a task.
    lower_bound_s : float
        No schedule could be faster: the greater of ``path_s`` and ``work_s`` divided by the slots.
    path_s : float
        The longest path through the dependencies.
    work_s : float
        The durations of all tasks together.
    slots : int
        Those that there were at first.
    busy_s : float
        Time spent in executions that came to their end.
    messages : dict
        Messages sent, by type.
    run_again : int
        Tasks that started more than once.
    moved_bytes : int
        What was fetched from workers.
    peak_bytes : int
        The most that all workers together held at a time.
    crashes, mishaps : int
        Workers that died, and everything else that went wrong.
    scheduler_s : dict
        Real seconds spent in the scheduler machine, by type of event; empty unless asked for.
    history : str
        A digest of everything that was sent, and when; empty unless asked for.
    """

    seed: int
    makespan_s: float = 0.0
    lower_bound_s: float = 0.0
    path_s: float = 0.0
    work_s: float = 0.0
    slots: int = 0
    busy_s: float = 0.0
    messages: dict[str, int] = field(default_factory=dict)
    events: int = 0
    tasks: int = 0
    finished: int = 0
    failed: int = 0
    cancelled: int = 0
    run_again: int = 0
    moved_bytes: int = 0
    peak_bytes: int = 0
    crashes: int = 0
    mishaps: int = 0
    scheduler_s: dict[str, float] = field(default_factory=dict, compare=False)
    history: str = ""

    @property
    def stretch(self) -> float:
        """The makespan, as a multiple of the lower bound."""
        return self.makespan_s / self.lower_bound_s if self.lower_bound_s else 1.0

    @property
    def idle(self) -> float:
        """The share of the slots' time in which they executed nothing, or something in vain."""
        offered_s = self.slots * self.makespan_s
        return 1.0 - self.busy_s / offered_s if offered_s else 0.0

    @property
    def scheduler_s_per_task(self) -> float:
        """The scheduler machine's own time, in real seconds."""
        return sum(self.scheduler_s.values()) / self.tasks if self.tasks else 0.0

    def table(self) -> str:
        """Return the figures as a table for people."""
        rows = [
            ("tasks", f"{self.tasks:,}, {self.run_again:,} run again"),
            ("results", f"{self.finished:,} finished, {self.failed:,} failed, {self.cancelled:,} cancelled"),
            ("makespan", f"{self.makespan_s:.4g} s, {self.stretch:.3f} x the lower bound"),
            ("lower bound", f"{self.lower_bound_s:.4g} s (path {self.path_s:.4g}, work / slots {self.spread_s:.4g})"),
            ("idle", f"{self.idle:.1%} of {self.slots} slots"),
            ("moved", f"{self.moved_bytes / 1e6:,.1f} MB"),
            ("held at most", f"{self.peak_bytes / 1e6:,.1f} MB"),
            ("events", f"{self.events:,}"),
            ("mishaps", f"{self.crashes} crashes, {self.mishaps} others"),
        ]
        if self.scheduler_s:
            rows.insert(4, ("scheduler", f"{1e6 * self.scheduler_s_per_task:.2f} us a task (real time)"))
            for kind, seconds in sorted(self.scheduler_s.items(), key=lambda item: -item[1])[:4]:
                rows.append((f"  in {kind}", f"{1e6 * seconds / max(1, self.tasks):.2f} us a task"))
        for kind, number in sorted(self.messages.items(), key=lambda item: -item[1]):
            rows.append((f"  {kind}", f"{number:,} messages, {number / max(1, self.tasks):.3f} a task"))
        return "\n".join(f"{name:<22} {text}" for name, text in rows)

    @property
    def spread_s(self) -> float:
        """The work, divided by the slots."""
        return self.work_s / self.slots if self.slots else 0.0


def scheduler_bytes_per_task(rows: list[tuple[Key, list[Key]]]) -> float:
    """Return the machine's bytes for a queued task, without key and payload."""
    machine: Any = SchedulerMachine()
    machine.handle(m.ClientJoined("c"), 0.0)
    for i in range(10):
        machine.handle(m.WorkerConnected(f"w{i}", "address"), 0.0)
    tasks: list[m.TaskRow] = [(key, "f", b"arguments", dependencies) for key, dependencies in rows]
    event = m.SubmitTasks("c", tasks, [("f", "f", b"code")])
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        commands = machine.handle(event, 0.0)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    del commands
    return (after - before) / max(1, len(rows))
