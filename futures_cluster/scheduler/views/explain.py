"""Why a task does not run, in words.

Covers: sentences about one task and what it waits for. Does not cover: showing them. It only reads. It may look at
everything that is queued, which is more than an event may cost; people do not ask often.
"""

from __future__ import annotations

from itertools import islice

from futures_cluster.messages import SCATTERED_OPTIONS, Key
from futures_cluster.numbers import counted, listed
from futures_cluster.scheduler import records
from futures_cluster.scheduler.queues.limits import TOLERANCE
from futures_cluster.scheduler.records import Requirements, Task, Worker
from futures_cluster.scheduler.recovery import suspects
from futures_cluster.scheduler.state import State

#: Sentences in all, and inputs that one sentence names.
MAX_LINES = 30
MAX_NAMED = 5


def unknown(key: Key) -> str:
    """Say of a key that there is no such task."""
    return f"{key!r} is not known: it never came here, was cancelled, or has ended and no client holds its future"


def explain(state: State, key: Key, now: float) -> list[str]:
    """Return why the task with this key does not run, or what became of it.

    Parameters
    ----------
    state : State
        Is only read.
    key : str
        Of the task.
    now : float
        On the clock of the machine.

    Returns
    -------
    list of str
        The task first, then what it waits for, and why that does not run.
    """
    task = state.tasks.get(key)
    if task is None:
        return [unknown(key)]
    lines: list[str] = []
    seen = {task: None}
    stack = [task]
    while stack:
        if len(lines) >= MAX_LINES:
            lines.append("... and so on")
            break
        task = stack.pop()
        lines.extend(_task(state, task, now))
        if task.state == records.WAITING:
            missing = [dep for dep in task.dependencies if dep.state != records.MEMORY and dep not in seen]
            for dep in reversed(missing[:MAX_NAMED]):
                seen[dep] = None
                stack.append(dep)
    return lines


def silent_worker(state: State, name: str) -> str:
    """Say what a worker runs that cannot answer, and what the user can do."""
    worker = state.workers.get(name)
    running = [] if worker is None else [state.tasks[key] for key in suspects(worker, None, unheard=True)]
    if not running:
        return "it runs no task; look what its process waits for, a disk for instance"
    tasks = listed([f"{task.function.group.name} ({task.key!r})" for task in running])
    return (
        f"it runs {tasks}, which may hold the interpreter's lock (GIL). The scheduler waits for it. To stop a task "
        "call cancel(force=True) on its future, or submit it with with_options(timeout=...)"
    )


def _task(state: State, task: Task, now: float) -> list[str]:
    name = repr(task.key)
    if task in state.paused:
        return [f"{name} {_paused(state, task, now)}"]
    if task.state == records.WAITING:
        missing = [dep for dep in task.dependencies if dep.state != records.MEMORY]
        which = listed([repr(dep.key) for dep in missing])
        return [f"{name} waits for {len(missing)} of its {counted(len(task.dependencies), 'input')}: {which}"]
    if task.state == records.QUEUED:
        return [f"{name} is queued: {reason}" for reason in _queued(state, task)]
    if task.state == records.ASSIGNED and task.worker is not None:
        return [f"{name} {_assigned(task, task.worker, now)}"]
    if task.state == records.FAILED:
        return [f"{name} has failed: {_error(task)}"]
    if task.state == records.RELEASED:
        return [f"{name} has run, and its result was freed; what was made of it is still there"]
    what = "was scattered" if task.options is SCATTERED_OPTIONS else "has finished"
    if task.has_result:
        return [f"{name} {what}; the scheduler holds the result of {task.size_bytes} bytes"]
    holders = listed([worker.name for worker in task.holders or ()])
    return [f"{name} {what}; {task.size_bytes} bytes are held by {holders}"]


def _paused(state: State, task: Task, now: float) -> str:
    options, left_s = task.options, max(0.0, state.paused[task] - now)
    lost = f"{len(task.losses)} workers were lost while they ran it"
    if options.backoff_s and task.retries_left < options.retries:
        text = f"waits {left_s:.3g} s before try {options.retries - task.retries_left + 1} of {options.retries + 1}"
        return f"{text}; {lost}" if task.losses else text
    return f"pauses for {left_s:.3g} s before it runs again: {lost}"


def _come(number: int) -> str:
    return "comes" if number == 1 else "come"


def _duration(seconds: float) -> str:
    """Return a time to three digits; below 0.01 s all look the same.

    Examples
    --------
    >>> _duration(12.345), _duration(0.000898)
    ('12.3 s', 'less than 0.01 s')
    """
    return f"{seconds:.3g} s" if seconds >= 0.01 else "less than 0.01 s"


def _error(task: Task) -> str:
    error = task.result
    if isinstance(error, dict) and "kind" in error:
        return f"{error['kind']}: {error.get('text', '')}"
    return "the function raised; only the client can read its exception, by result()"


def _assigned(task: Task, worker: Worker, now: float) -> str:
    seconds = _duration(now - task.since_s)
    place = f"worker {worker.name}" + (f" on {worker.host}" if worker.host else "")
    if task.started:
        return f"runs on {place}, for {seconds}"
    before = next(number for number, other in enumerate(worker.assigned.values()) if other is task)
    text = f"was committed to {place} {seconds} ago"
    if before >= worker.slots:
        waits_s = sum(other.expected_s for other in islice(worker.assigned.values(), before))
        others = "1 other that is" if before == 1 else f"{before} others that are"
        text += f", behind {others} expected to take {_duration(waits_s / (worker.slots or 1))}"
    else:
        text += "; it is about to run, or runs"
    if task.dependencies and before < worker.slots:
        remote = [dep for dep in task.dependencies if dep.holders and worker not in dep.holders]
        if remote:
            text += f"; its worker fetches {listed([repr(dep.key) for dep in remote])}"
    if task.retracting:
        text += "; it was asked back"
    return text


def _queued(state: State, task: Task) -> list[str]:
    workers = [worker for worker in state.workers.values() if not worker.retiring]
    if not state.workers:
        return ["no worker is there"]
    if not workers:
        number = len(state.workers)
        return ["the only worker is about to end" if number == 1 else f"all {number} workers are about to end"]
    requirements = task.requirements
    if requirements is not None:
        return _constrained(state, task, requirements, workers)
    if closed := _closed(state, workers):
        return closed
    ahead = state.ready.ahead(task)
    slots = sum(worker.slots for worker in workers if not (worker.silent or worker.waits_for_place))
    text = f"{counted(ahead, 'task')} of priority {-task.level[0]} or higher {_come(ahead)} before it"
    text += f", on {counted(slots, 'slot')}"
    if len(state.clients) > 1:
        text += ", besides those of other clients, which have their turns too"
    return [text]


def _closed(state: State, workers: list[Worker]) -> list[str]:
    """Say of workers, if none of them takes tasks, why."""
    if not all(worker.silent or worker.waits_for_place for worker in workers):
        return []
    return [
        f"worker {w.name} does not answer: {silent_worker(state, w.name)}"
        if w.silent
        else f"worker {w.name} gets no tasks before those on {w.same_place[0].name}, whose place it takes, have ended"
        for w in workers[:MAX_NAMED]
    ]


def _constrained(state: State, task: Task, requirements: Requirements, workers: list[Worker]) -> list[str]:
    resources, names, alone, limits = requirements
    if names:
        workers = [worker for worker in workers if worker.place in names]
        if not workers:
            known = listed(list(state.workers))
            return [f"it may run only on {listed(list(names))}, and none of these is there (there are {known})"]
    reasons = []
    for name, amount in resources:
        most = max(worker.resources.get(name, 0.0) for worker in workers)
        if most < amount:
            which = "of the workers that it names" if names else "worker"
            reasons.append(f"no {which} has {amount:g} of the resource {name!r}; the most is {most:g}")
    if reasons:
        return reasons
    able = [w for w in workers if all(w.resources.get(name, 0.0) >= amount for name, amount in resources)]
    if not able:
        asked = " and ".join(f"{amount:g} of {name!r}" for name, amount in resources)
        return [f"no worker has {asked} together"]
    if closed := _closed(state, able):
        return closed
    queue = state.constrained.queues.get(requirements)
    ahead = queue.tasks.ahead(task) if queue is not None else 0
    before = f"{ahead} like it {_come(ahead)} before it"
    for name, amount in limits:
        limit = state.limits.by_name[name]
        if not state.limits.are_free(((name, amount),)):
            users = f"{counted(limit.users, 'task')} {'has' if limit.users == 1 else 'have'}"
            return [
                f"it asks for {amount:g} of the limit {name!r}; {users} {limit.used:g} of {limit.total:g}, and {before}"
            ]
    if alone:
        text = f"{len(task.losses)} workers were lost while they ran it, so it has to run alone"
        worker = state.reserved.get(task)
        if worker is not None:
            left = counted(len(worker.assigned), "task")
            text += f"; worker {worker.name} gets nothing else, and {left} must end there first"
        return [text]
    free = [w for w in able if all(w.free_resources.get(name, 0.0) >= amount - TOLERANCE for name, amount in resources)]
    if not free and resources:
        return [f"what it asks for is in use on {listed([w.name for w in able])}; {before}"]
    return [f"{listed([w.name for w in able])} may run it and have no free slot; {before}"]
