"""Tasks that clients submit.

Covers: the records of new tasks, their links to their inputs, which of them can run at once, keys that the scheduler
has already. Does not cover: whether such a key belongs to the same call (``repeats``), choosing workers (``dispatch``),
a task that comes alone (``lone``).
"""

from __future__ import annotations

from collections.abc import Sequence

from futures_cluster import messages as m
from futures_cluster.messages import Key
from futures_cluster.scheduler import recovery
from futures_cluster.scheduler.dispatch import Dispatch
from futures_cluster.scheduler.records import QUEUED, WAITING, Task
from futures_cluster.scheduler.repeats import Repeats
from futures_cluster.scheduler.transitions import Part, Transitions, scheduler_error, unknown_result


class Submissions(Part):
    """Adds tasks to the state."""

    def __init__(self, transitions: Transitions, dispatch: Dispatch, repeats: Repeats) -> None:
        super().__init__(transitions)
        self._dispatch = dispatch
        self._repeats = repeats

    def submit(self, event: m.SubmitTasks, now: float) -> None:
        """Take new tasks of a client, and keys that it wants once more."""
        state = self._state
        client = event.client
        wanted_by = state.clients.get(client)
        if wanted_by is None:
            return  # it has left
        tasks, functions = state.tasks, state.functions
        for function_id, name, payload in event.functions:
            self._transitions.functions.register(function_id, name, payload, client)
        options = event.options
        if options is not m.DEFAULT_OPTIONS and options == m.DEFAULT_OPTIONS:
            options = m.DEFAULT_OPTIONS  # looked for by identity
        flow = state.shares.flow(client, (-options.priority, -event.depth))
        wanted = None if event.wanted is None else dict.fromkeys(event.wanted)
        detached = wanted is None
        serial = state.serial
        plain = options is m.DEFAULT_OPTIONS or not (options.resources or options.workers or options.limits)
        apart: dict[Key, m.TaskOptions] = dict(event.option_overrides) if event.option_overrides else {}
        calls: dict[Key, str] = dict(event.calls) if event.calls else {}
        fresh: list[Task] = []  # could run at once, anywhere
        choosy: list[Task] = []  # could run at once, on some workers
        added: dict[Task, Sequence[Key]] = {}  # with inputs
        for key, function_id, payload, dependencies in event.tasks:
            is_wanted = wanted is None or key in wanted
            if key in tasks:
                if function_id and not self._repeats.is_same(key, calls.get(key)):
                    self._repeats.refuse(client, key, is_wanted)
                elif is_wanted:
                    self._transitions.want_again(tasks[key], client, another=not function_id)
                if type(payload) is tuple:
                    self._outbox.freed.append(payload)
                continue
            function = functions.get(function_id)
            if function is None:  # a key that came by its name, and is no longer known
                self._outbox.refuse(client, key, unknown_result(key))
                continue
            serial += 1
            function.tasks += 1
            task = Task(key, function, payload, options, flow, serial, wanted_by if is_wanted else (), detached)
            tasks[key] = task
            if calls and key in calls:
                state.calls[key] = calls[key]
            if key in apart:
                own = task.options = apart[key]
                task.flow = state.shares.flow(client, (-own.priority, -event.depth))
                task.retries_left = own.retries
            if dependencies or state.broken is not None:
                added[task] = dependencies
            elif plain and key not in apart:
                task.state = QUEUED
                fresh.append(task)
            else:
                state.counts[WAITING] += 1
                self._transitions.make_ready(task)
                choosy.append(task)
        state.counts[WAITING] += len(added)
        state.serial = serial
        if fresh:
            state.queued += len(fresh)
            state.ready.extend(fresh)
        forward = False
        for task, dependencies in added.items():
            forward = self._transitions.link(task, dependencies) or forward
            if state.refused:
                self._repeats.check_inputs(task, client, dependencies)
        if forward:
            for task in recovery.in_cycles(list(added)):
                text = f"task {task.key!r} is part of a dependency cycle"
                self._transitions.fail(task, scheduler_error("ProtocolError", text))
        if not plain or apart:
            self._transitions.refuse_limits([*choosy, *added])
        for task in added:
            if task.state is WAITING:
                self._transitions.start_waiting(task)
        if not detached:
            self._dispatch.spread(fresh)
            unwanted = [task for task in (*fresh, *choosy, *added) if not task.wanted_by]
            self._transitions.release_candidates.extend(unwanted)
