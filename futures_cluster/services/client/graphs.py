"""Tasks that need each other, submitted together.

Covers: pickling, the one message. Does not cover: how such tasks come to be (``adapters``), their futures (``client``),
and what becomes of them (``scheduler.machine``): those that no client wants run only while others need them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from futures_cluster import messages as m
from futures_cluster.context import TaskContext
from futures_cluster.messages import Key, Reference, TaskOptions
from futures_cluster.messages.basics import FRESH, Record
from futures_cluster.services.client.call_preparation import check_own, inherit
from futures_cluster.services.client.function_table import FunctionTable
from futures_cluster.wire.codec.pickle_codec import InputCollector, PickleCodec

_numbers = itertools.count(1)


class GraphTask(NamedTuple):
    """One task of a graph: ``function(*args, *values of the inputs)``."""

    key: Key
    name: str  # for statistics
    args: tuple[Any, ...]
    inputs: list[Key]
    options: TaskOptions | None = None  # if they are not those of the graph


class Graph(Record):
    """Tasks that are submitted together.

    Attributes
    ----------
    function : callable
        What each of them calls; it pickles by reference.
    tasks : iterable of GraphTask
        In the order in which they should run. Read once.
    wanted : list of str
        Keys of the tasks whose results are wanted.
    references : list of futures
        Inputs that are not among the tasks.
    reduce : callable
        ``reduce(reference)``: what a future inside the arguments pickles as; None if it stays a future.
    stores : bool
        Tasks write into objects among their arguments; these may refuse to be pickled, as a copy would be useless.
    """

    __slots__ = ("function", "tasks", "wanted", "options", "references", "reduce", "stores")

    def __init__(
        self,
        function: Callable[..., Any],
        tasks: Iterable[GraphTask],
        wanted: list[Key],
        options: TaskOptions = m.DEFAULT_OPTIONS,
        references: list[Any] = FRESH,
        reduce: Callable[[Any], Any] = lambda reference: None,
        stores: bool = False,
    ) -> None:
        self.function = function
        self.tasks = tasks
        self.wanted = wanted
        self.options = options
        self.references = [] if references is FRESH else references
        self.reduce = reduce
        self.stores = stores


def graph_suffix(owner: str) -> str:
    """Return what makes the keys of one graph unlike those of all others."""
    return f"@{owner}-{next(_numbers)}"


class _Collector(InputCollector):
    """Lets the graph's owner say what futures inside of arguments are."""

    def __init__(self, reduce: Callable[[Reference], tuple[Any, ...] | None], stores: bool) -> None:
        super().__init__(stops=False)
        self._reduce = reduce
        self.stores = stores

    def reduce(self, reference: Reference) -> tuple[Any, ...] | None:
        self.found[id(reference)] = reference
        return self._reduce(reference)


def build_graph(
    graph: Graph, client: Any, codec: PickleCodec, table: FunctionTable, parent: TaskContext | None
) -> tuple[m.SubmitTasks, list[Any]]:
    """Pickle the tasks of a graph.

    Parameters
    ----------
    client : Client
        Whose futures the graph may refer to; no other's.
    parent : TaskContext or None
        The task that submits.

    Returns
    -------
    message : SubmitTasks
        Its only message.
    kept : list of futures
        What the tasks refer to, to be kept until they are done.

    Raises
    ------
    Exception
        What pickling a task raises; then nothing is left behind.
    """
    for future in graph.references:
        check_own(future, client, "use")
    collector = _Collector(graph.reduce, graph.stores)
    functions: dict[str, tuple[str, Any]] = {}
    rows: list[m.TaskRow] = []
    overrides: list[m.OptionsRow] = []
    depth = 0 if parent is None else parent.depth + 1
    try:
        for task in graph.tasks:
            known = functions.get(task.name)
            if known is None:
                known = functions[task.name] = table.named(graph.function, task.name)
            payload = codec.dump_task(task.args, task.inputs, collector)
            rows.append((task.key, known[0], payload, task.inputs))
            if task.options is not None:
                overrides.append((task.key, inherit(task.options, parent)))
    except BaseException:
        for _, _, payload, _ in rows:
            codec.release(payload)
        raise
    news = [each for _, each in functions.values() if each is not None]
    message = m.SubmitTasks(client.name, rows, news, inherit(graph.options, parent), depth, graph.wanted, overrides)
    return message, [*graph.references, *collector.found.values()]
