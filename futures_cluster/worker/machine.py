"""A worker: the one entry that changes its state.

Covers: which run starts when, which inputs are fetched from whom, the reports to the scheduler.
Does not cover: executing, holding values, talking (``services.worker.service``).

The commands it returns are messages for the scheduler, and three of its own: ``ExecuteRuns``, ``FetchData`` and
``DropData`` (forget these values).

The machine does not report an end at once, so that thousands of short runs make one message. It collects ends until
``Tick``, which the service sends every few milliseconds, or until a run ends that ``reports`` and none follows it.

Ready runs are in the order of their priorities: more urgent tasks first, then deeper nested ones, then first come,
first served. Nearly always the next one comes last; only a more urgent one, or one that comes back (a worker died, a
task was stolen), has to find its place. The machine does not search for runs that it gives back: it skips them when
their turn comes, so that cancelling costs nothing here.
"""

from __future__ import annotations

from bisect import insort
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from futures_cluster import messages as m
from futures_cluster.messages import Key, Message
from futures_cluster.worker.replicas import Replica
from futures_cluster.worker.runs import (
    ENDED,
    EXECUTING,
    FETCHING,
    READY,
    RETURNED,
    TRANSITIONS,
    Run,
    RunStateName,
)

Command = Message | m.ExecuteRuns | m.FetchData
_Fetches = defaultdict[tuple[str, str], list[Key]]  # by holder (name, address)

#: When this many tasks of one worker wait for other tasks (each costs a thread), it lends their slots only to tasks
#: nested deeper than all of them: one of these can run at any time, so the tasks that the others wait for end.
MAX_LENT_SLOTS = 1000

_priority = attrgetter("priority")


class WorkerMachine:
    """Decides what one worker does.

    Parameters
    ----------
    name : str
        As the scheduler knows it.
    slots : int
        Runs at a time.
    most_runs : int or None
        Number of runs after which it starts no more (``max_tasks_per_child``).
    """

    def __init__(self, name: str, slots: int = 1, most_runs: int | None = None) -> None:
        self.name = name
        self.slots = slots
        self.lent_slots = 0
        self.runs_left = most_runs
        self.retiring = False
        self.runs: dict[Key, Run] = {}  # not yet ended; the newest attempt at each task
        self.executing: dict[tuple[Key, int], Run] = {}
        self.unreported: dict[tuple[Key, int], None] = {}  # executing, and the scheduler was not told
        self.replicas: dict[Key, Replica] = {}
        self.ready: deque[Run] = deque()  # those that were given back meanwhile, too
        self._finished: list[m.FinishedRow] = []
        self._failed: list[m.FailedRow] = []
        self._handlers: dict[type, Callable[[Any, list[Command]], None]] = {
            m.RunTasks: self._on_run_tasks,
            m.RunsEnded: self._on_runs_ended,
            m.FetchEnded: self._on_data_fetched,
            m.ReturnTasks: self._on_return_tasks,
            m.DropData: self._on_drop_data,
            m.CopyData: self._on_copy_data,
            m.DataPut: self._on_data_put,
            m.RunWaits: self._on_run_waits,
            m.Retire: self._on_retire,
            m.Tick: self._report,
        }

    def handle(self, event: Message, now: float) -> list[Command]:
        """Take one event; return what has to be done."""
        commands: list[Command] = []
        kind = type(event)
        self._handlers[kind](event, commands)
        started = bool(self.ready) and self._start_runs(commands)
        if not started and kind is m.RunsEnded and event.reports:  # type: ignore[attr-defined]
            self._report(event, commands)
        return commands

    @property
    def has_unreported(self) -> bool:
        """Whether a ``Tick`` would tell the scheduler anything."""
        return bool(self._finished or self._failed or self.unreported)

    # ---------------------------------------------------------------- runs

    def _on_run_tasks(self, event: m.RunTasks, commands: list[Command]) -> None:
        if self.retiring:
            commands.append(m.TasksReturned(self.name, [(key, attempt) for key, attempt, *_ in event.runs]))
            return
        fetches: _Fetches = defaultdict(list)
        for row in event.runs:
            run = Run(*row)
            former = self.runs.get(run.key)
            if former is not None and former.state is not EXECUTING:
                self._give_up(former, commands)  # the scheduler has given that attempt up
            self.runs[run.key] = run
            for key, size_bytes, payload, holders in run.inputs:
                if payload is None:
                    self._need(run, key, size_bytes, holders, fetches)
            if run.missing:
                run.state = FETCHING
            else:
                self._queue(run)
        if fetches:
            self._add_fetches(fetches, commands)

    def _queue(self, run: Run) -> None:
        ready = self.ready
        if not ready or ready[-1].priority <= run.priority:
            ready.append(run)
        else:
            insort(ready, run, key=_priority)

    def _need(self, run: Run, key: Key, size_bytes: int, holders: Sequence[m.Holder], fetches: _Fetches) -> None:
        """Make sure that an input is here or on its way."""
        replica = self.replicas.get(key)
        if replica is None:
            replica = self._fetch(key, size_bytes, holders, fetches)
        replica.users += 1
        if not replica.held:
            replica.dropped = False
            replica.runs[run] = None
            run.missing += 1

    def _fetch(self, key: Key, size_bytes: int, holders: Sequence[m.Holder], fetches: _Fetches) -> Replica:
        """Have data fetched from the first of its holders."""
        replica = self.replicas[key] = Replica(key, size_bytes, False, [(name, addr) for name, addr in holders])
        fetches[replica.holders[0] if holders else ("", "")].append(key)  # without a holder: fails at once
        return replica

    @staticmethod
    def _add_fetches(fetches: _Fetches, commands: list[Command]) -> None:
        commands.extend(m.FetchData(name, address, keys) for (name, address), keys in fetches.items())

    def _start_runs(self, commands: list[Command]) -> bool:
        """Start what may start; whether anything does."""
        ready = self.ready
        executing = self.executing
        started: list[Run] = []
        reported: list[m.AttemptRow] = []
        free = self.slots + self.lent_slots - len(executing)
        deepest = None  # level of nesting of those that wait; smaller is deeper
        if self.lent_slots > MAX_LENT_SLOTS:
            deepest = min(run.priority[1] for run in executing.values() if run.waits)
        while free > 0 and ready and not self.retiring:
            run = ready[0]
            if deepest is not None and run.state is READY and run.priority[1] >= deepest:
                break
            ready.popleft()
            if run.state is not READY:
                continue
            run.state = EXECUTING
            free -= 1
            identity = run.key, run.attempt
            executing[identity] = run
            started.append(run)
            if run.flags & m.REPORT_START:
                reported.append(identity)
            else:
                self.unreported[identity] = None
            if self.runs_left is not None:
                self.runs_left -= 1
                if self.runs_left <= 0:
                    self._retire(commands)
        if reported:
            commands.append(m.TasksStarted(self.name, reported))
        if started:
            commands.append(m.ExecuteRuns(started))
        return bool(started)

    def _on_retire(self, event: m.Retire, commands: list[Command]) -> None:
        if not self.retiring:
            self._retire(commands, event.hands_over)

    def _retire(self, commands: list[Command], hands_over: bool = False) -> None:
        """Start no more runs, and give back those that have not started."""
        self.retiring = True
        returned = []
        for run in list(self.runs.values()):
            if run.state is not EXECUTING:
                self._give_up(run, commands)
                returned.append((run.key, run.attempt))
        commands.append(m.WorkerRetiring(self.name, hands_over))
        if returned:
            commands.append(m.TasksReturned(self.name, returned))

    def _give_up(self, run: Run, commands: list[Command]) -> None:
        self._set_state(run, RETURNED)
        del self.runs[run.key]
        if run.inputs:
            self._leave_inputs(run, commands)

    def _leave_inputs(self, run: Run, commands: list[Command]) -> None:
        """Release the inputs of a run."""
        dropped = []
        for key, _, payload, _ in run.inputs:
            replica = self.replicas.get(key) if payload is None else None
            if replica is None:
                continue
            replica.runs.pop(run, None)
            replica.users -= 1
            if replica.dropped and replica.held and not replica.users:
                del self.replicas[key]
                dropped.append(key)
        if dropped:
            commands.append(m.DropData(dropped))

    def _on_return_tasks(self, event: m.ReturnTasks, commands: list[Command]) -> None:
        returned, refused = [], []
        for key, attempt in event.runs:
            run = self.runs.get(key)
            if run is not None and run.attempt == attempt and run.state is not EXECUTING:
                self._give_up(run, commands)
                returned.append((key, attempt))
            else:
                refused.append((key, attempt))
        commands.append(m.TasksReturned(self.name, returned, refused))

    def _on_runs_ended(self, event: m.RunsEnded, commands: list[Command]) -> None:
        for row in event.finished:
            self._end(row[0], row[1], commands)
            if row[2] is None:
                self._keep(row[0], row[3])
        self._finished += event.finished
        if event.failed:
            for failed in event.failed:
                self._end(failed[0], failed[1], commands)
            self._failed += event.failed

    def _keep(self, key: Key, size_bytes: int) -> None:
        """Keep a result here, and make the runs ready that waited for it."""
        replica = self.replicas.get(key)
        if replica is None:
            self.replicas[key] = Replica(key, size_bytes, True, [])
            return
        # An earlier attempt's, or on its way from another worker; the scheduler drops it again if no task needs it.
        replica.held, replica.dropped, replica.size_bytes = True, False, size_bytes
        runs, replica.runs = replica.runs, {}
        for run in runs:
            run.missing -= 1
            if not run.missing:
                self._set_state(run, READY)
                self._queue(run)

    def _end(self, key: Key, attempt: int, commands: list[Command]) -> None:
        identity = key, attempt
        run = self.executing.pop(identity)
        self.unreported.pop(identity, None)
        run.state = ENDED
        if run.waits:  # it ended without saying that it waits no more
            run.waits = False
            self.lent_slots -= 1
            commands.append(m.SlotsChanged(self.name, self.slots + self.lent_slots))
        if self.runs.get(key) is run:
            del self.runs[key]
        if run.inputs:
            self._leave_inputs(run, commands)

    def _on_run_waits(self, event: m.RunWaits, commands: list[Command]) -> None:
        run = self.executing.get((event.key, event.attempt))
        if run is None or run.waits == event.waits:
            return
        run.waits = event.waits
        self.lent_slots += 1 if event.waits else -1
        commands.append(m.SlotsChanged(self.name, self.slots + self.lent_slots))

    def _report(self, event: Message, commands: list[Command]) -> None:
        """Tell the scheduler what has ended, and what runs on."""
        if self.unreported:
            commands.append(m.TasksStarted(self.name, list(self.unreported)))
            self.unreported = {}
        if self._finished or self._failed:
            commands.append(m.TasksFinished(self.name, self._finished, self._failed))
            self._finished, self._failed = [], []

    # ---------------------------------------------------------------- data

    def _on_data_fetched(self, event: m.FetchEnded, commands: list[Command]) -> None:
        added, unneeded = [], []
        for key, size_bytes in event.arrived:
            replica = self.replicas.get(key)
            if replica is None or (replica.dropped and not replica.users):
                self.replicas.pop(key, None)
                unneeded.append(key)
            elif not replica.held:
                self._keep(key, size_bytes)
                added.append(key)
        if unneeded:
            commands.append(m.DropData(unneeded))
        if added:
            size_bytes = sum(size for _, size in event.arrived) if event.duration_s > 0 else 0
            commands.append(m.DataAdded(self.name, added, size_bytes, event.duration_s))
        self._fetch_elsewhere(event, commands)

    def _fetch_elsewhere(self, event: m.FetchEnded, commands: list[Command]) -> None:
        """Ask the next holder of data; without one, give its runs back."""
        fetches: _Fetches = defaultdict(list)
        missing, returned = [], []
        for key in event.missing:
            replica = self.replicas.get(key)
            if replica is None or replica.held:
                continue
            missing.append((key, event.holder or self.name))  # without any holder: it was said to be here
            replica.holders = [holder for holder in replica.holders if holder[0] != event.holder]
            if replica.holders and (replica.runs or replica.copy):
                fetches[replica.holders[0]].append(key)
                continue
            del self.replicas[key]
            for run in list(replica.runs):
                self._give_up(run, commands)
                returned.append((run.key, run.attempt))
        if missing:
            commands.append(m.ReportMissing(self.name, missing))
        if returned:
            commands.append(m.TasksReturned(self.name, returned))
        self._add_fetches(fetches, commands)

    def _on_copy_data(self, event: m.CopyData, commands: list[Command]) -> None:
        """Copy results of others; without holders, say whether they are here."""
        fetches: _Fetches = defaultdict(list)
        here, missing = [], []
        for key, size_bytes, holders in event.rows:
            replica = self.replicas.get(key)
            if replica is not None and replica.held:
                replica.dropped = False
                here.append(key)
            elif not holders:
                missing.append((key, self.name))
            else:
                replica = replica or self._fetch(key, size_bytes, holders, fetches)
                replica.copy, replica.dropped = True, False
        if here:
            commands.append(m.DataAdded(self.name, here))
        if missing:
            commands.append(m.ReportMissing(self.name, missing))
        self._add_fetches(fetches, commands)

    def _on_data_put(self, event: m.DataPut, commands: list[Command]) -> None:
        """Record what a client has put into the store; it tells the scheduler itself."""
        for key, size_bytes in event.rows:
            self._keep(key, size_bytes)

    def _on_drop_data(self, event: m.DropData, commands: list[Command]) -> None:
        dropped = []
        for key in event.keys:
            replica = self.replicas.get(key)
            if replica is None:
                continue
            if replica.held and not replica.users:
                del self.replicas[key]
                dropped.append(key)
            else:
                replica.dropped = True
                replica.copy = False
        if dropped:
            commands.append(m.DropData(dropped))

    @staticmethod
    def _set_state(run: Run, new: RunStateName) -> None:
        assert new in TRANSITIONS[run.state], f"{run}: {new}"
        run.state = new
