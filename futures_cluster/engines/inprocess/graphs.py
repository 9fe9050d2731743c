"""Graphs of calls in the engine for threads.

Covers: which calls can begin, which are no longer needed, the futures of wanted calls. Does not cover: making the graph
(``adapters``), executing calls (``slots``).

Each call is a node. A node is kept by the nodes that need its value, and by nothing else once it has ended: so a value
is freed with the last node that takes it. Nodes hold futures weakly: when the last reference to a future goes, the
calls that only this future needed do not begin.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from futures_cluster import context, locks
from futures_cluster.engines.inprocess.work import WorkItem, trampoline
from futures_cluster.messages import DEFAULT_OPTIONS, Key, TaskOptions
from futures_cluster.services.client.call_preparation import check_own, inherit
from futures_cluster.services.client.graphs import Graph, GraphTask
from futures_cluster.services.common.signals import DeferredSignals
from futures_cluster.wire.codec.exception_state import copied

if TYPE_CHECKING:
    from futures_cluster.engines.inprocess.host import Host

# Reentrant: a finalizer may give up a future in the middle of a change.
_lock = locks.RLock()


class GraphWork(WorkItem):
    """One call of a graph.

    Attributes
    ----------
    needs : list
        The nodes and futures whose values are its last arguments, until it has ended.
    missing : int
        Number of needs without a value; all pending futures together count as one.
    users : int
        Number of nodes that have not ended and need its value, and one more for a future that is alive.
    value : object
        What the function has returned.
    """

    special = True
    reference: weakref.ref[Any] | None = None
    has_value = False

    def __init__(self, engine: Host, number: int, graph: Graph, task: GraphTask) -> None:
        super().__init__(engine, number, None, graph.function, task.args, {})
        self._key = task.key
        self._name = task.name
        self._own = task.args
        self.needs: list[Any] = []
        self.missing = 0
        self.users = 0
        self.dependents: list[GraphWork] = []
        self.value: Any = None

    @property
    def future(self) -> Any:
        """Its future, if it is wanted."""
        return None if self.reference is None else self.reference()

    @future.setter
    def future(self, future: Any) -> None:
        self.reference = None if future is None else weakref.ref(future)

    @property
    def key(self) -> Key:  # type: ignore[override]
        """See ``WorkItem``."""
        return self._key

    @property
    def function(self) -> str:
        """See ``WorkItem``."""
        return self._name

    def unfinished_inputs(self) -> list[Any]:
        """See ``WorkItem``."""
        return [need for need in self.needs if not (need.has_value if type(need) is GraphWork else need.done())]

    def shared_inputs(self) -> list[tuple[Key, Any]]:
        """See ``WorkItem``."""
        return [(need.key, need.value if type(need) is GraphWork else need._result) for need in self.needs]

    def mark_running(self) -> None:
        """See ``WorkItem``."""
        future = self.future
        if future is not None:
            future._deliver_running()

    def resolve_inputs(self) -> None:
        """See ``WorkItem``."""
        values = [need.value if type(need) is GraphWork else need._result for need in self.needs]
        self.args = (*self._own, *values)

    def on_inputs_done(self) -> None:
        """See ``WorkItem``."""
        _count_down([self])

    def deliver_value(self, value: Any) -> None:
        """See ``WorkItem``."""
        self.value, self.has_value = value, True
        future, dependents = self._end()
        if future is not None:
            future._deliver_value(value)
        _count_down(dependents)

    def deliver_failure(self, error: BaseException) -> None:
        """See ``WorkItem``; fail its dependents, too."""
        future, dependents = self._end()
        if future is not None:
            future._deliver_failure(error)
        for node in dependents:
            trampoline(lambda node=node: node.host.fail(node, copied(error)))  # type: ignore[misc]

    def deliver_cancelled(self) -> None:
        """See ``WorkItem``; cancel its dependents, too."""
        future, dependents = self._end()
        if future is not None:
            future._deliver_cancelled()
        for node in dependents:
            trampoline(lambda node=node: node.host.cancel(node))  # type: ignore[misc]

    def _end(self) -> tuple[Any, list[GraphWork]]:
        """Drop the node's needs; return its future and its dependents."""
        future = self.future
        self.forget_call()
        with _lock:
            dependents, self.dependents = self.dependents, []
            needs, self.needs, self._own = self.needs, [], ()
            unused = [need for need in needs if type(need) is GraphWork and need.drop_user()]
        _drop(unused)
        return future, dependents

    def drop_user(self) -> bool:
        """Count one user less, under the lock; return whether the node is of no use now."""
        self.users -= 1
        return not self.users and not self.has_value

    def withdraw(self) -> bool:
        """See ``WorkItem``; drop its future and all that only it needed."""
        with _lock:
            if self.number not in self.host.queued:
                return False
            self.future = None
            unused = [self] if self.drop_user() else []
        _drop(unused)
        return True


def _count_down(nodes: Iterable[GraphWork]) -> None:
    """Count one missing value less for these nodes; enqueue those that have all."""
    ready = []
    with _lock:
        for node in nodes:
            node.missing -= 1
            if not node.missing:
                ready.append(node)
    for node in ready:
        node.host.enqueue(node)


def _drop(nodes: list[GraphWork]) -> None:
    """Drop nodes without users, and the nodes that only these need."""
    while nodes:
        node = nodes.pop()
        if node.host.take_out(node):
            with _lock:
                needs, node.needs = node.needs, []
                nodes += [need for need in needs if type(need) is GraphWork and need.drop_user()]


def submit_graph(engine: Host, graph: Graph) -> dict[Key, Any]:
    """Submit the calls of a graph.

    Returns
    -------
    dict
        The futures of wanted calls, by key.

    Raises
    ------
    ValueError
        If the graph needs a future of another executor.
    BaseException
        The error of a future that failed before it came to the engine.
    """
    parent = context.submitting_task()
    given: dict[Key, Any] = {}
    for future in graph.references:
        check_own(future, engine, "use")
        given[future.key] = future
    nodes: dict[Key, GraphWork] = {}
    waits: list[tuple[GraphWork, list[Any]]] = []
    for task in graph.tasks:
        node = GraphWork(engine, engine.next_number(), graph, task)
        nodes[task.key] = node
        _give_options(node, task.options or graph.options, parent)
        pending = []
        for key in task.inputs:
            need: Any = nodes.get(key)
            if need is not None:
                need.users += 1
                need.dependents.append(node)
                node.missing += 1
            else:
                need = given[key]
                if need._state != "FINISHED" or need._exception is not None:
                    pending.append(need)
            node.needs.append(need)
        if pending:
            node.missing += 1
            waits.append((node, pending))
    futures = {}
    for key in graph.wanted:
        node = nodes[key]
        future = futures[key] = engine.make_future(key, node)
        node.users += 1
    unused = [node for node in reversed(nodes.values()) if not node.users]
    with DeferredSignals():
        engine.admit_graph(list(nodes.values()))
        _drop(unused)
        for node, pending in waits:
            engine.wait_for(node, pending)
    return futures


def _give_options(node: GraphWork, options: TaskOptions, parent: context.TaskContext | None) -> None:
    if parent is not None:
        node.parent, node.depth = parent, parent.depth + 1
        parent.children[node.number] = None
        options = inherit(options, parent)
    if options is not DEFAULT_OPTIONS:
        node.apply_options(options)
