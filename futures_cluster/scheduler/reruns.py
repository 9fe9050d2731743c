"""Attempts that ended without a result: how many a task may have, when the next one begins, what its error says.

Covers: counting lost workers, the pause before the next attempt, the error of the last one. Every way of losing a
worker counts (a death, silence, a closed connection) unless the worker was stopped on purpose: a task that loses
workers in any way must end some day.
Does not cover: which tasks an end is counted against (``recovery.suspects``), how long a task pauses that raised
(``backoff``).

The way of a task: its worker is lost -> ``count`` -> ``rest``: it waits for its inputs and for the end of the pause ->
``wake`` -> queued again. After its second loss it pauses and runs alone (``records.MAX_DEATHS_BESIDE_OTHERS``), so that
no other task can be blamed for the third. After the first one it runs again at once. A task that raised and has
retries left comes to ``rest`` at once.
"""

from __future__ import annotations

from futures_cluster.messages import Payload
from futures_cluster.scheduler.records import MAX_DEATHS_BESIDE_OTHERS, Task, Worker
from futures_cluster.scheduler.recovery import MAX_DEATHS
from futures_cluster.scheduler.transitions import Transitions, scheduler_error

#: The pause before a task runs alone: what was wrong with the workers may be over by then.
PAUSE_S = 0.5


def count(task: Task, worker: Worker, cause: str) -> None:
    """Note that the task was running when its worker was lost."""
    task.losses = (*task.losses, f"on {worker.name}: {cause}")


def is_last(task: Task) -> bool:
    """Return whether the task must not run again."""
    return len(task.losses) >= MAX_DEATHS


def error(task: Task) -> Payload:
    """Make the error of a task that has lost as many workers as it may."""
    lines = [f"{number}. {loss}" for number, loss in enumerate(task.losses, 1)]
    text = f"{task.key!r} is not run again, because each of its {len(lines)} attempts ended with its worker:\n"
    return scheduler_error("WorkerDied", text + "\n".join(lines))


def error_of_only_run(task: Task, cause: str) -> Payload:
    """Make the error of a task that must not run twice."""
    text = f"the worker that ran {task.key!r} died (it was submitted with rerun=False): {cause}"
    return scheduler_error("WorkerDied", text)


def pause_s(task: Task) -> float:
    """Return how long a task pauses that has lost a worker."""
    return PAUSE_S if len(task.losses) >= MAX_DEATHS_BESIDE_OTHERS else 0.0


def pause(change: Transitions, task: Task, until_s: float) -> None:
    """Let an unassigned task wait for its inputs, and for the end of its pause."""
    change.state.paused[task] = until_s
    change.start_waiting(task)


def resume(change: Transitions, task: Task) -> None:
    """End the pause of a task."""
    del change.state.paused[task]
    task.unmet_inputs -= 1
    if not task.unmet_inputs:
        change.make_ready(task)
