"""Results that have to be on more workers, or on others: scattered data, and what a worker holds that is to end.

Covers: the events about data, which results lack copies, which workers fetch them, when a retired worker may end.
Does not cover: what a lost result means (``transitions``, ``recovery``), fetching (the worker machine).

The way of a copy: an event changes the holders of a result -> ``State.dirty_replicas`` -> ``_check``: it lacks copies
-> ``State.under_replicated`` -> ``_ask`` chooses a worker -> ``CopyData`` -> ``DataAdded`` -> ``State.dirty_replicas``
-> no copies are lacking: the scheduler tells the client, or the retired worker ends.

Scattered data is a task that has run and cannot run again: when a worker could not fetch it from one which still is
there, that one is asked. Other results are made again, some times. A result out of reach for one worker is there for
all others: a third worker copies it, and at last only the tasks fail that need it where it cannot be had.

No more than some bytes are asked of a worker at a time. The rest waits until it has answered, so that messages stay
small and no worker's memory overflows; ``State.copies_due`` says that it is worth while to look again.
"""

from __future__ import annotations

import heapq

from futures_cluster import messages as m
from futures_cluster.messages import Key
from futures_cluster.scheduler import records
from futures_cluster.scheduler.records import MEMORY, Scattered, Task, Worker
from futures_cluster.scheduler.repeats import Repeats
from futures_cluster.scheduler.transitions import Part, Transitions, scheduler_error, unknown_result

#: Asked of one worker at a time.
MAX_BYTES = 64_000_000
MAX_KEYS = 1000
#: Maximum number of holders in a command to copy.
MAX_ADDRESSES = 4
#: How often a worker may say that it has data that others could not get from it, before these do without.
MAX_DOUBTS = 20

#: How often fetching a result from a living worker may fail, before the tasks that need it do without.
MAX_UNREACHED = 4

#: Number of these failures after which a third worker copies it, which may reach both.
RELAYED_AFTER = 2

#: So often a worker is asked for a copy that it cannot get.
MAX_TRIES = 5

#: Stands for whatever made scattered data.
SCATTER = "scatter"


def put_lost(key: Key) -> str:
    """Return what is said of data whose worker has gone before it was known."""
    return f"the worker that {key!r} was scattered to is gone; scatter it again"


class Copies(Part):
    """Decides which worker copies which result; a part of the machine."""

    def __init__(self, transitions: Transitions, repeats: Repeats) -> None:
        super().__init__(transitions)
        self._repeats = repeats

    # ---------------------------------------------------------------- events

    def scatter(self, event: m.ScatterData, now: float) -> None:
        """Record the data that a client has put onto workers."""
        state = self._state
        known = event.client in state.clients
        places: dict[Key, tuple[int, list[Worker]]] = {}
        for key, size_bytes, name in event.rows:
            holders = places.setdefault(key, (size_bytes, []))[1]
            if (worker := state.workers.get(name)) is not None:
                holders.append(worker)
        for key, (size_bytes, workers) in places.items():
            task = state.tasks.get(key)
            if task is not None:  # of another call: what was put there is not its result
                if known:
                    self._repeats.refuse(event.client, key)
                for worker in workers:
                    if worker not in (task.holders or ()):
                        self._outbox.drops.setdefault(worker.name, []).append(key)
                continue
            if known:
                task = self._add(key, size_bytes, event.client, event.replicas)
                if not workers:
                    self._transitions.fail(task, scheduler_error("DataLost", put_lost(key)))
            for worker in workers:
                if task is not None and task.state is MEMORY and task.holders is not None:
                    self._transitions.hold(task, worker)
                else:
                    self._outbox.drops.setdefault(worker.name, []).append(key)

    def _add(self, key: Key, size_bytes: int, client: str, replicas: int) -> Task:
        state = self._state
        function = state.functions.get(SCATTER) or self._transitions.functions.add(SCATTER, SCATTER, None)
        function.tasks += 1
        state.serial += 1
        flow = state.shares.flow(client, (0, 0))
        task = Task(key, function, None, m.SCATTERED_OPTIONS, flow, state.serial, (client,), False)
        task.state = MEMORY
        task.size_bytes = size_bytes
        task.holders = {}
        state.tasks[key] = task
        state.scattered[task] = Scattered(max(1, replicas), client)
        return task

    def data_added(self, worker: Worker, event: m.DataAdded, now: float) -> None:
        """Record the copies that a worker has."""
        state = self._state
        state.bandwidth.measure(event.size_bytes, event.duration_s)
        for key in event.keys:
            task = state.tasks.get(key)
            if task is None or task.state is not MEMORY or task.holders is None:
                self._outbox.drops.setdefault(worker.name, []).append(key)
                continue
            self._transitions.end_copy(task, worker)
            if worker not in task.holders:
                self._transitions.hold(task, worker)
                if (scattered := state.scattered.get(task)) is not None:
                    scattered.failed_fetches = 0

    def report_missing(self, event: m.ReportMissing, now: float) -> None:
        """Look for other ways to a result that could not be fetched from a worker."""
        state = self._state
        reporter = state.workers.get(event.reporter)
        for key, name in event.missing:
            task = state.tasks.get(key)
            if task is None:
                if event.reporter in state.clients:
                    self._outbox.refuse(event.reporter, key, unknown_result(key))
                continue
            was_copy = reporter is not None and task in reporter.copying
            if reporter is not None and was_copy:
                self._transitions.end_copy(task, reporter)
                if (scattered := state.scattered.get(task)) is not None:
                    scattered.refused[reporter.name] = scattered.refused.get(reporter.name, 0) + 1
            holder = state.workers.get(name)
            has_answer = False
            if holder is not None and holder in (task.holders or ()):
                has_answer = self._find_other_way(task, holder, event.reporter, was_copy)
            if not has_answer and (task.state is MEMORY or task.state is records.FAILED):
                self._tell_only(task, event.reporter)

    def _tell_only(self, task: Task, client: str) -> None:
        """Tell one client of a result, if it wants that."""
        self._transitions.tell_done(task, tuple(name for name in task.wanted_by if name == client))

    def _find_other_way(self, task: Task, holder: Worker, reporter: str, was_copy: bool) -> bool:
        """Decide about a result that could not be fetched from its holder.

        Another worker, or a client, has asked for it.

        Returns whether the reporter was told that it cannot have it.
        """
        if holder.name == reporter:  # it has lost what it held
            self._give_up(task, holder)
            return False
        scattered = self._state.scattered.get(task)
        if scattered is None:
            return self._not_reached(task, holder, reporter)
        if not was_copy and task not in self._state.copying:
            scattered.failed_fetches += 1
        # Nothing could make it again: ask the holder, which says whether it still has it.
        self._outbox.copies.setdefault(holder.name, []).append((task.key, task.size_bytes, ()))
        if scattered.failed_fetches == RELAYED_AFTER:
            self._relay(task, reporter)
        return scattered.failed_fetches > MAX_DOUBTS and self._cannot_get(task, holder, reporter)

    def _give_up(self, task: Task, worker: Worker) -> None:
        """Give up a holder that has lost the result, or cannot be reached."""
        self._transitions.unhold(task, worker)
        self._outbox.drops.setdefault(worker.name, []).append(task.key)
        if not task.holders:
            self._transitions.lost_results([task])

    def _not_reached(self, task: Task, worker: Worker, reporter: str) -> bool:
        """Move or remake a result whose holder lives but could not be asked.

        Returns whether the scheduler has told the reporter that it cannot have it.
        """
        state = self._state
        if len(task.holders or ()) > 1:
            self._give_up(task, worker)
            return False
        if task in state.copying:  # soon it is elsewhere
            return False
        count = state.unreachable_count[task] = state.unreachable_count.get(task, 0) + 1
        if count > MAX_UNREACHED:
            return self._cannot_get(task, worker, reporter)
        if count == RELAYED_AFTER and self._relay(task, reporter):
            return False
        self._give_up(task, worker)
        if reporter in state.workers:
            state.recompute_on[task] = reporter
        return False

    def _relay(self, task: Task, reporter: str) -> bool:
        """Let a third worker copy it for the reporter; return whether there is one."""
        others = [
            worker
            for worker in self._state.workers.values()
            if worker.name != reporter and worker not in (task.holders or ()) and not worker.retiring
        ]
        if not others or task in self._state.copying:
            return False
        self._copy(task, min(others, key=_load))
        return True

    def _cannot_get(self, task: Task, worker: Worker, reporter: str) -> bool:
        """Fail what needs a result there; return whether a program asked."""
        text = (
            f"{reporter} could not get {task.key!r} from {worker.name} at {worker.address}, which has it: can these "
            "machines connect to each other?"
        )
        error = scheduler_error("DataLost", text)
        here = self._state.workers.get(reporter)
        if here is None:
            self._outbox.refuse(reporter, task.key, error)
            return True
        for dependent in list(task.dependents or ()):
            if dependent.worker is here:
                self._transitions.fail(dependent, error)
        return False

    def retire(self, event: m.RetireWorkers, now: float) -> None:
        """Begin to empty workers that are to end."""
        state = self._state
        for name in event.workers:
            worker = state.workers.get(name)
            if worker is None or worker.killing or worker in state.draining:
                continue
            state.event_log.append((now, "worker retires", name))
            state.draining[worker] = {}
            self._transitions.retire(worker)
            for task in reversed(list(worker.assigned.values())):
                if not task.started:
                    self._transitions.ask_back(task, unwanted=task.cancel_requested)
            state.dirty_replicas.update(dict.fromkeys(worker.data.values()))
            state.dirty_replicas.update(worker.copying)
            self._transitions.refresh(worker)

    # ---------------------------------------------------------------- after each event

    def run(self) -> None:
        """Do what the event has made necessary."""
        state = self._state
        while state.dirty_replicas:
            tasks, state.dirty_replicas = state.dirty_replicas, {}
            for task in tasks:
                self._check(task)
        if state.copies_due:
            state.copies_due = False
            if state.under_replicated:
                self._ask()
        for worker, alone in list(state.draining.items()):
            if not (alone or worker.assigned):
                self._end(worker)

    def _check(self, task: Task) -> None:
        """Find out whether a result lacks copies."""
        state = self._state
        state.under_replicated.pop(task, None)
        scattered = state.scattered.get(task)
        holders = task.holders
        if task.state is not MEMORY or not holders:
            return
        good = sum(worker not in state.draining for worker in holders)
        for worker in holders:
            alone = state.draining.get(worker)
            if alone is not None:
                if good:
                    alone.pop(task, None)
                else:
                    alone[task] = None
        wanted = _wanted(scattered)
        if good < wanted and (scattered is not None or good < len(holders)):
            coming = sum(worker not in state.draining for worker in state.copying.get(task, ()))
            if good + coming < wanted:
                state.under_replicated[task] = None
                state.copies_due = True
        elif scattered is not None:
            self._tell(task, scattered)

    def _tell(self, task: Task, scattered: Scattered) -> None:
        """Tell the client that there are enough copies, or as many as there can be."""
        if scattered.unacknowledged_client is not None:
            self._tell_only(task, scattered.unacknowledged_client)
            scattered.unacknowledged_client = None  # also if it no longer waits for the message

    def _ask(self) -> None:
        """Have copies made where possible; workers with the least data get them."""
        state = self._state
        able = [worker for worker in state.workers.values() if not worker.retiring]
        heap = [(_load(worker), number, worker) for number, worker in enumerate(able) if _may_copy_more(worker)]
        heapq.heapify(heap)
        for task in list(state.under_replicated):
            self._ask_for(task, able, heap)
            if not heap:
                break

    def _ask_for(self, task: Task, able: list[Worker], heap: list[tuple[int, int, Worker]]) -> None:
        """Have copies of one result made by workers of the heap.

        The heap then has the other workers, and those that may copy more.
        """
        state = self._state
        scattered = state.scattered.get(task)
        holders = task.holders or {}
        coming = state.copying.setdefault(task, {})
        lacking = _wanted(scattered) - sum(worker not in state.draining for worker in (*holders, *coming))
        refused = scattered.refused.items() if scattered is not None else ()
        unable = {name: None for name, times in refused if times >= MAX_TRIES}
        if scattered is not None and all(worker in holders or worker.name in unable for worker in able):
            self._tell(task, scattered)  # there is no other worker
        back = []
        while lacking > 0 and heap:
            load, number, worker = heapq.heappop(heap)
            if not (worker in holders or worker in coming or worker.name in unable):
                self._copy(task, worker)
                lacking -= 1
                load = _load(worker)
                if not _may_copy_more(worker):
                    continue
            back.append((load, number, worker))
        for entry in back:
            heapq.heappush(heap, entry)
        if lacking <= 0:
            del state.under_replicated[task]
        if not coming:
            del state.copying[task]

    def _copy(self, task: Task, worker: Worker) -> None:
        state = self._state
        state.copying.setdefault(task, {})[worker] = None
        worker.copying[task] = None
        worker.copying_bytes += task.size_bytes
        holders = list(task.holders or ())
        first = state.attempts % len(holders)  # so that not all ask the same one
        holders = (holders[first:] + holders[:first])[:MAX_ADDRESSES]
        row = (task.key, task.size_bytes, tuple((holder.name, holder.address) for holder in holders))
        self._outbox.copies.setdefault(worker.name, []).append(row)

    def _end(self, worker: Worker) -> None:
        """End a retired worker that holds nothing that is needed."""
        for task in list(worker.data.values()):
            self._transitions.unhold(task, worker)
        self._transitions.end_worker(worker, "it was retired")


def _wanted(scattered: Scattered | None) -> int:
    """Return on how many workers a result has to be."""
    return 1 if scattered is None else scattered.replicas


def _load(worker: Worker) -> int:
    """Return the bytes that a worker holds, and those that are on their way to it."""
    return worker.held_bytes + worker.copying_bytes


def _may_copy_more(worker: Worker) -> bool:
    return worker.copying_bytes < MAX_BYTES and len(worker.copying) < MAX_KEYS
