"""Small builders for tests of the scheduler machine: a machine that is checked after each event, rows and commands."""

from __future__ import annotations

from typing import Any

from futures_cluster import messages as m
from futures_cluster.messages import DEFAULT_OPTIONS, Message, TaskOptions
from futures_cluster.scheduler import invariants, reruns
from futures_cluster.scheduler.machine import SchedulerMachine
from futures_cluster.scheduler.records import Task, Worker


class Cluster:
    """A scheduler machine with a client ``c`` and workers ``w1``, ``w2``, ...; time stands still unless told."""

    def __init__(self, workers: int = 1, **offers: Any) -> None:
        self.machine = SchedulerMachine()
        self.now = 0.0
        self.quiet(m.ClientJoined("c"))
        for i in range(1, workers + 1):
            self.quiet(m.WorkerConnected(f"w{i}", f"a{i}", **offers))

    def given(self, event: Message) -> list[Any]:
        """An event of which the test is not about; whatever follows is right."""
        commands = self.machine.handle(event, self.now)
        invariants.check(self.machine.state)
        return commands

    def expect(self, event: Message, *commands: Any) -> None:
        """Exactly these commands follow."""
        assert self.given(event) == list(commands)

    def quiet(self, event: Message) -> None:
        """Nothing follows."""
        self.expect(event)

    def pause(self) -> list[Any]:
        """Tasks that rest before they run again have rested."""
        self.now += reruns.PAUSE_S
        return self.given(m.Tick())

    def task(self, key: str) -> Task:
        return self.machine.state.tasks[key]

    def worker(self, name: str) -> Worker:
        return self.machine.state.workers[name]

    def states(self) -> dict[str, str]:
        """The state of every task there is."""
        return {key: task.state for key, task in self.machine.state.tasks.items()}

    def where(self) -> dict[str, str]:
        """Where the tasks are that are assigned."""
        tasks = self.machine.state.tasks.values()
        return {task.key: task.worker.name for task in tasks if task.worker is not None}

    def measured(self, duration_s: float, function: str = "f") -> None:
        """It is known how long the function takes."""
        self.given(submit("measuring", function=function))
        self.finish("measuring", duration_s=duration_s)
        self.given(m.ReleaseKeys("c", ["measuring"]))

    def finish(self, *keys: str, payload: Any = b"result", size_bytes: int = 6, duration_s: float = 1.0) -> list[Any]:
        """The workers that have the tasks finish them; without payload the results stay there."""
        commands = []
        for key in keys:
            task = self.task(key)
            assert task.worker is not None, task
            row = (key, task.attempt, payload, size_bytes, duration_s)
            commands += self.given(m.TasksFinished(task.worker.name, [row]))
        return commands

    def start(self, *keys: str) -> None:
        """The workers that have the tasks report that they run."""
        for key in keys:
            task = self.task(key)
            assert task.worker is not None, task
            self.given(m.TasksStarted(task.worker.name, [(key, task.attempt)]))


def submit(
    *tasks: Any,
    client: str = "c",
    function: str = "f",
    options: TaskOptions = DEFAULT_OPTIONS,
    depth: int = 0,
    wanted: list[str] | None = None,
) -> m.SubmitTasks:
    """Tasks given as keys, or as (key, keys of the inputs)."""
    rows = []
    for task in tasks:
        key, inputs = (task, []) if isinstance(task, str) else task
        rows.append((key, function, b"args", inputs))
    calls = [(key, f"{function} of {inputs}") for key, _, _, inputs in rows]
    return m.SubmitTasks(client, rows, [(function, function, b"code")], options, depth, wanted, calls=calls)


def run(
    key: str,
    attempt: int,
    inputs: tuple[Any, ...] = (),
    flags: int = 0,
    level: tuple[int, int] = (0, 0),
    function: str = "f",
    payload: Any = b"args",
) -> tuple[Any, ...]:
    """A row of ``RunTasks``."""
    return (key, attempt, function, payload, (*level, attempt), inputs, flags)


def runs(worker: str, *rows: Any, functions: tuple[str, ...] = ()) -> m.ToWorker:
    return m.ToWorker(worker, m.RunTasks(list(rows), [(name, name, b"code") for name in functions]))


def done(*rows: Any, client: str = "c") -> m.ToClient:
    return m.ToClient(client, m.TasksDone(list(rows)))


def finished(key: str, payload: Any = b"result", size_bytes: int = 6, *holders: tuple[str, str]) -> Any:
    """A row of ``TasksDone``."""
    return (key, m.FINISHED, payload, size_bytes, holders)


def failed(key: str, error: Any) -> Any:
    """A row of ``TasksDone``."""
    return (key, m.FAILED, error, 0, ())


def cancelled(key: str) -> Any:
    """A row of ``TasksDone``."""
    return (key, m.CANCELLED, None, 0, ())


def drop(worker: str, *keys: str) -> m.ToWorker:
    return m.ToWorker(worker, m.DropData(list(keys)))


def ask_back(worker: str, *rows: tuple[str, int]) -> m.ToWorker:
    return m.ToWorker(worker, m.ReturnTasks(list(rows)))


def running(*keys: str, client: str = "c") -> m.ToClient:
    return m.ToClient(client, m.TasksRunning(list(keys)))


def waiting(*keys: str, client: str = "c") -> m.ToClient:
    return m.ToClient(client, m.TasksWaiting(list(keys)))


def recomputing(*keys: str, client: str = "c") -> m.ToClient:
    return m.ToClient(client, m.TasksRecomputing(list(keys)))
