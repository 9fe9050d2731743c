"""A plan, carried out on an executor.

Covers: keys, functions by value, the futures of what is wanted, on our own engine in one message, and on any other one
call at a time. Does not cover: the plan (``graph``).

Keys. The scheduler's keys are texts, and each graph has its own: ``"('x-1234', 0)@main-7"``. So equal names in two
graphs never meet; what graphs have in common are futures.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from concurrent.futures import CancelledError
from typing import Any

from dask._task_spec import TaskRef

from futures_cluster.adapters import steps as st
from futures_cluster.adapters.graph import Plan
from futures_cluster.adapters.stores import share_targets
from futures_cluster.engines.base import Engine
from futures_cluster.engines.options import SubmitOptions
from futures_cluster.future import Future
from futures_cluster.services.client.graphs import Graph, GraphTask, graph_suffix
from futures_cluster.wire.codec import pickling

#: Functions whose pickle is larger than this are tasks of their own, so that they travel once.
LARGE_FUNCTION_BYTES = 16 * 1024
#: Functions other than plain ones are pickled apart if they are larger than this.
SMALL_FUNCTION_BYTES = 200


def submit(plan: Plan, engine: Engine, options: SubmitOptions) -> dict[Hashable, Future[Any]]:
    """Submit the tasks of a plan; return the futures of the wanted keys.

    Raises
    ------
    Exception
        When a task does not pickle, would write into a copy of an array, or asks for what no worker offers; when the
        graph needs a future that was cancelled.
    """
    for future in plan.futures.values():
        if future.cancelled():
            raise CancelledError(
                f"the graph needs {future.key!r}, which was cancelled; persist the collection once more, or submit the "
                "call again"
            )
    asked = {id(each): each for group in plan.groups for each in [group.options or options.task]}
    for each in asked.values():
        engine.check_options(each)
    scope = None if engine.shares_memory else engine.client.codec.scope
    names = _Names(plan, graph_suffix(engine.client.owner if engine.supports_graphs else "graph"))
    tasks = _tasks(plan, names, scope)
    if not engine.supports_graphs:
        made = _submit_singly(plan, tasks, engine, options)
    else:
        wanted = list(dict.fromkeys(names[end] for end in plan.wanted.values() if type(end) is not Future))
        graph = Graph(
            st.run_steps,
            tasks,
            wanted,
            options.task,
            list(plan.futures.values()),
            _as_reference(plan),
            plan.stores(),
        )
        made = engine.submit_graph(graph)
    return {key: end if type(end) is Future else made[names[end]] for key, end in plan.wanted.items()}


class _Names:
    """The scheduler's key of each group; a future has its own."""

    def __init__(self, plan: Plan, suffix: str) -> None:
        self.suffix = suffix
        taken: dict[str, int] = {}
        self._by_id: dict[int, str] = {}
        for group in plan.groups:
            text = str(group.last.key)
            number = taken[text] = taken.get(text, 0) + 1
            self._by_id[id(group)] = text + suffix if number == 1 else f"{text}#{number}{suffix}"

    def __getitem__(self, group: Any) -> str:
        return group.key if type(group) is Future else self._by_id[id(group)]


def _as_reference(plan: Plan) -> Any:
    """Return a reducer that pickles the futures of the graph's nodes as references."""

    def reduce(future: Any) -> Any:
        return (TaskRef, (future.key,)) if future.key in plan.futures else None

    return reduce


def _tasks(plan: Plan, names: _Names, scope: pickling.Scope | None) -> Iterator[GraphTask]:
    """Yield a task for each group, after one for each large function new in it."""
    functions = _GraphFunctions(scope) if scope is not None else None
    for group in plan.groups:
        steps: Any
        steps, inputs = plan.steps(group)
        keys = [names[each] for each in inputs]
        if functions is not None:
            share_targets(steps, inputs)
            calls = functions.replace(steps)
            for large in calls:
                key = f"function-{large.number}{names.suffix}"
                if large.is_new:
                    large.is_new = False
                    yield GraphTask(key, "function", ([(st.identity, (large.function,), (), (), key)],), [])
                keys.append(key)
            if calls:
                steps = (steps, len(calls))
        yield GraphTask(names[group], plan.name(group), (steps,), keys, group.options)


def _submit_singly(
    plan: Plan, tasks: Iterator[GraphTask], engine: Engine, options: SubmitOptions
) -> dict[str, Future[Any]]:
    """Submit a call for each task, to engines that take no graphs."""
    made = dict(plan.futures)
    for task in tasks:
        inputs = [made[key] for key in task.inputs]
        how = SubmitOptions(task.options or options.task, key=task.key)
        made[task.key] = engine.submit(st.run_steps, (*task.args, *inputs), {}, how)
    return made


class _LargeFunction:
    """A function that travels as the result of a task, which comes before the first that calls the function."""

    __slots__ = ("function", "is_new", "number")

    def __init__(self, function: Any, number: int) -> None:
        self.function = function
        self.number = number
        self.is_new = True


class _GraphFunctions:
    """The functions of a graph, each pickled once and not for each task that calls it."""

    def __init__(self, scope: pickling.Scope) -> None:
        self._scope = scope
        self._known: dict[int, Any] = {}  # by id of a function: what steps have in its place
        self._alive: list[Any] = []

    def replace(self, steps: list[st.Step]) -> list[_LargeFunction]:
        """Replace functions in the steps of a task, and return the large ones."""
        numbers: dict[_LargeFunction, int] = {}
        for at, (function, args, places, drops, key) in enumerate(steps):
            replacement = self._known.get(id(function))
            if replacement is None:
                replacement = self._known[id(function)] = self._pickle(function)
                self._alive.append(function)
            if type(replacement) is _LargeFunction:
                replacement = numbers.setdefault(replacement, len(numbers))
            if replacement is not function:
                steps[at] = (replacement, args, places, drops, key)
        return list(numbers)

    def _pickle(self, function: Any) -> Any:
        """Return a replacement; the function itself if it pickles small, by reference."""
        data, buffers = pickling.dumps_apart(function, self._scope)
        if not buffers and len(data) <= SMALL_FUNCTION_BYTES and not pickling.is_marked(data):
            return function
        if buffers or len(data) > LARGE_FUNCTION_BYTES:
            return _LargeFunction(function, len(self._known))
        return st.PickledFunction(data)
