"""From Dask's graph to tasks of the scheduler.

Covers: which nodes are needed, which of them make one task, their order and names, and the steps of each. Does not
cover: what comes before, such as Dask's own optimisation, and after, such as pickling (``submit``).

graph, keys -> ``Plan``: ``Node`` for each node that is needed -> packed into ``Group`` -> ordered by ``dask.order`` ->
one row for each group, with its steps and the keys of its inputs.

Packing. To a graph of thousands of tasks for each slot it makes no difference whether a few of them move together, but
each costs as much as a hundred small additions. So nodes whose result only one other node uses become part of that
one's task, as long as there are still ``MIN_GROUPS`` tasks for each slot. Small graphs are packed only where nothing
could run at the same time anyway: a block that is made of one other block, used by no other, is made in the same
task. Blocks have tuples as keys; calls of ``delayed`` do not, and in small graphs are tasks of their own, as users see
them. Nodes that are wanted, or have options of their own, are not packed with others. Nor are those which take one of
many items out of their input, as shuffles do, packed with what needs the item: the whole input would move.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from operator import getitem
from typing import Any

from dask._task_spec import (
    Alias,
    DataNode,
    Dict,
    GraphNode,
    List,
    Set,
    Task,
    TaskRef,
    Tuple,
    _execute_subgraph,
)
from dask.order import order
from dask.utils import key_split

from futures_cluster.adapters import steps as st
from futures_cluster.adapters.nodes import FutureAlias
from futures_cluster.future import Future

#: Tasks for each slot that packing leaves.
MIN_GROUPS = 64
#: Nodes that one task may have.
MAX_PACKED = 64
#: Inputs that one task may have, unless a single node has more: all are held while it runs.
MAX_INPUTS = 32

_CONTAINERS: dict[type, Callable[..., Any]] = {
    List: st.make_list,
    Tuple: st.make_tuple,
    Set: st.make_set,
    Dict: st.make_dict,
}
#: Functions that take an item out of their first argument.
_ITEM_FUNCTIONS = (getitem, dict.get)
_SMALL = frozenset((int, float, bool, str, bytes, type(None), slice))


class Node:
    """A node of the graph that has to run."""

    __slots__ = ("group", "inputs", "key", "node", "number", "users")

    def __init__(self, key: Hashable, node: GraphNode) -> None:
        self.key = key
        self.node = node
        self.number = 0  # place in an order in which inputs come first
        self.inputs: dict[Hashable, None] = {}  # keys of nodes, and futures
        self.users = 0  # nodes that need it
        self.group: Group = None  # type: ignore[assignment]


class Group(Task):  # type: ignore[misc]
    """Nodes that run as one task; to ``dask.order`` a node. ``last`` makes the result."""

    __slots__ = ("last", "nodes", "options")

    def __init__(self, last: Node, options: Any) -> None:  # not Task's: it has no function, and is never called
        self.last: Node = last
        self.nodes: list[Node] = [last]
        self.options = options

    def link(self) -> None:
        """Set the dependencies by which ``dask.order`` orders groups."""
        inside = {node.key for node in self.nodes}
        keys = [key for node in self.nodes for key in node.inputs if type(key) is not Future and key not in inside]
        self._dependencies = frozenset(keys)  # type: ignore[misc]  # a slot of its base


class Plan:
    """A graph as tasks.

    Parameters
    ----------
    graph : dict
        From keys to nodes of ``dask._task_spec``.
    keys : iterable
        Those whose results are wanted.
    find : callable
        The future of a key that is not in the graph; raises if there is none.
    options : dict
        From keys to what their tasks ask for, where that is not the usual.
    slots : int
        How many tasks run at a time; 0 for no packing.

    Attributes
    ----------
    groups : list of Group
        In the order in which they should run.
    wanted : dict
        From each wanted key to its group or its future.
    futures : dict
        Futures that tasks need, or that are wanted.
    """

    def __init__(
        self,
        graph: Mapping[Hashable, Any],
        keys: Iterable[Hashable],
        find: Callable[[Hashable], Future[Any]],
        options: Mapping[Hashable, Any] | None = None,
        slots: int = 0,
    ) -> None:
        self._graph = graph
        self._find = find
        self._options = options or {}
        self._nodes: dict[Hashable, Node] = {}
        self._data: dict[Hashable, Any] = {}  # small data by key, which goes into the steps that need it
        self._resolved: dict[Hashable, Any] = {}
        self.futures: dict[str, Future[Any]] = {}
        ends = {key: self._resolve(key) for key in keys}
        self._ends = dict.fromkeys(end for end in ends.values() if type(end) is not Future)
        self._collect()
        self.groups = self._order(self._pack(slots))
        self.wanted = {key: end if type(end) is Future else self._nodes[end].group for key, end in ends.items()}

    # ---------------------------------------------------------------- what is needed

    def _resolve(self, key: Hashable) -> Any:
        """Return the key of the node behind aliases, or the future."""
        end = self._resolved.get(key)
        if end is None:
            end = self._resolved[key] = self._follow(key)
            if type(end) is Future:
                self.futures[end.key] = end
        return end

    def _follow(self, key: Hashable) -> Any:
        while (node := self._graph.get(key)) is not None:
            if type(node) is FutureAlias:
                return node.future
            if type(node) is not Alias or node.target == key:
                return key
            key = node.target
        return self._find(key)

    def _collect(self) -> None:
        """Go through the graph from the wanted keys; inputs come before their users."""
        nodes = self._nodes
        finished: dict[Hashable, Node] = {}
        stack: list[Any] = list(reversed(self._ends))
        while stack:
            key = stack[-1]
            if key in finished:
                stack.pop()
                continue
            node = nodes.get(key)
            if node is None:
                node = nodes[key] = Node(key, self._graph[key])
                more = self._find_inputs(node)
                if more:
                    stack.extend(more)
                    continue
            stack.pop()
            finished[key] = node
            node.number = len(finished)
        self._nodes = finished

    def _find_inputs(self, node: Node) -> list[Any]:
        """Set the inputs of a node; return the keys that are new."""
        more = []
        for dep in node.node.dependencies:
            end = self._resolve(dep)
            if type(end) is not Future:
                found = self._graph[end]
                if type(found) is DataNode and type(found.value) in _SMALL and end not in self._ends:
                    self._data[end] = found.value
                    continue
                if end not in self._nodes:
                    more.append(end)
            node.inputs[end] = None
        return more

    # ---------------------------------------------------------------- packing

    def _pack(self, slots: int) -> list[Group]:
        nodes = self._nodes
        for node in nodes.values():
            node.group = Group(node, self._options.get(node.key))
            for key in node.inputs:
                if type(key) is not Future:
                    nodes[key].users += 1
        if slots:
            self._merge(min(len(nodes) // (slots * MIN_GROUPS), MAX_PACKED))
        return list({id(node.group): node.group for node in nodes.values()}.values())

    def _merge(self, size: int) -> None:
        """Merge groups into their only user: chains of blocks, and others up to a size."""
        nodes, ends = self._nodes, self._ends
        inputs_of: dict[int, int] = {}  # by id of the group
        for node in nodes.values():
            group = node.group
            inputs = len(node.inputs)
            in_chain = inputs == 1 and type(node.key) is tuple
            for key in node.inputs:
                if type(key) is Future or nodes[key].users != 1 or key in ends:
                    continue
                if self._takes_item(nodes[key]):
                    continue
                other = nodes[key].group
                more = inputs_of[id(other)] - 1
                most = MAX_PACKED if in_chain and type(key) is tuple else size
                if len(group.nodes) + len(other.nodes) > most or inputs + more > MAX_INPUTS:
                    continue
                if group.options is not other.options:
                    continue
                inputs += more
                group.nodes += other.nodes
                for member in other.nodes:
                    member.group = group
            inputs_of[id(group)] = inputs

    def _takes_item(self, node: Node) -> bool:
        """Return whether a node takes one of many items out of its input, as shuffles do.

        It runs where this is, and soon: only the item moves then, and the whole need not be kept.
        """
        task = node.node
        if type(task) is not Task or not any(task.func is function for function in _ITEM_FUNCTIONS):
            return False
        if len(node.inputs) != 1 or len(task.args) < 2 or type(task.args[1]) is not int:
            return False
        (key,) = node.inputs
        return type(key) is not Future and self._nodes[key].users > 1

    def _order(self, groups: list[Group]) -> list[Group]:
        """Order groups as ``dask.order`` does, but take pieces out of an input early."""
        if len(groups) < 3:
            return sorted(groups, key=lambda group: group.last.number)
        for group in groups:
            group.link()
        by_key = {group.last.key: group for group in groups}
        places = order(by_key)
        keys: dict[Hashable, tuple[int, ...]] = {key: (place,) for key, place in places.items()}
        for group in groups:
            if self._takes_item(group.last):
                (source,) = group.last.inputs
                keys[group.last.key] = (places[self._nodes[source].group.last.key], places[group.last.key])
        return sorted(groups, key=lambda group: keys[group.last.key])

    # ---------------------------------------------------------------- steps

    def steps(self, group: Group) -> tuple[list[st.Step], list[Any]]:
        """Return the steps of a group, and its inputs: groups and futures."""
        inside = group.nodes
        inputs: dict[Hashable, None] = {}
        if len(inside) > 1:
            inside.sort(key=lambda node: node.number)
            keys = {node.key for node in inside}
            for node in inside:
                inputs.update(dict.fromkeys(key for key in node.inputs if type(key) is Future or key not in keys))
        else:
            inputs = inside[0].inputs
        builder = _StepBuilder(len(inputs), self._resolved, self._data)
        builder.places.update(zip(inputs, range(len(inputs))))
        for node in inside:
            builder.places[node.key] = builder.add_node(node.key, node.node, builder.find)
        if len(builder.steps) > 1:
            builder.set_drops()
        return builder.steps, [key if type(key) is Future else self._nodes[key].group for key in inputs]

    def needed(self) -> Collection[Hashable]:
        """Return the keys of the nodes that will run."""
        return self._nodes.keys()

    def stores(self) -> bool:
        """Return whether tasks write into the caller's arrays (``dask.array.store``)."""
        core = sys.modules.get("dask.array.core")
        if core is None or "zarr.storage" not in sys.modules:
            return False  # no zarr store without its module
        return any(_calls(node.node, core.load_store_chunk) for node in self._nodes.values())

    def name(self, group: Group) -> str:
        """Return the name under which the scheduler measures tasks like this."""
        name = str(key_split(group.last.key))
        number = len(group.nodes)
        return name if number == 1 else f"{name} x{1 << number.bit_length() >> 1}"


def _calls(node: Any, function: Any) -> bool:
    """Return whether a node calls this function, perhaps inside fused nodes."""
    if not isinstance(node, Task):
        return False
    if node.func is _execute_subgraph:
        return any(_calls(inner, function) for inner in node.args[0].values())
    return node.func is function


class _Constant:
    """An argument whose value is known, and which stands in the step itself."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


Find = Callable[[Any], "int | _Constant"]


class _StepBuilder:
    """Makes the steps of one task."""

    def __init__(self, inputs: int, resolved: dict[Hashable, Any], data: dict[Hashable, Any]) -> None:
        self.steps: list[st.Step] = []
        self.places: dict[Hashable, int] = {}
        self._inputs = inputs
        self._resolved = resolved
        self._data = data

    def find(self, key: Hashable) -> int | _Constant:
        """Return the number of a key's value, or the constant that it is."""
        end = self._resolved.get(key, key)
        place = self.places.get(end)
        return _Constant(self._data[end]) if place is None else place

    def _add(self, function: Any, args: tuple[Any, ...], places: list[tuple[int, int]], key: Hashable) -> int:
        self.steps.append((function, args, tuple(places), (), key))
        return self._inputs + len(self.steps) - 1

    def add_node(self, key: Hashable, node: Any, find: Find) -> int:
        """Add the steps of a node; return the number of its value."""
        kind = type(node)
        if kind is Task:
            if node.func is _execute_subgraph and not node.kwargs:
                return self._add_subgraph(key, node, find)
            args, places = self._arguments(key, node.args, find)
            if not node.kwargs:
                return self._add(node.func, args, places, key)
            return self._add_call(key, node, args, places, find)
        if kind in _CONTAINERS:
            args, places = self._arguments(key, node.args, find)
            return self._add(_CONTAINERS[kind], args, places, key)
        if kind is DataNode:
            return self._add(st.identity, (node.value,), [], key)
        keys = tuple(node.dependencies)
        args, places = self._arguments(key, tuple(TaskRef(dep) for dep in keys), find)
        return self._add(st.call_node, (node, keys, *args), [(at + 2, number) for at, number in places], key)

    def _arguments(
        self, key: Hashable, args: tuple[Any, ...], find: Find
    ) -> tuple[tuple[Any, ...], list[tuple[int, int]]]:
        """Return arguments with known values, and the places of unknown ones.

        A known value stands in the place of its reference; a place of an unknown one is returned.
        """
        places: list[tuple[int, int]] = []
        known: list[Any] | None = None
        for at, arg in enumerate(args):
            if isinstance(arg, TaskRef):
                found = find(arg.key)
            elif not isinstance(arg, GraphNode):
                continue
            elif type(arg) is Alias or type(arg) is FutureAlias:
                found = find(arg.target)
            elif type(arg) is DataNode:
                found = _Constant(arg.value)
            else:
                found = self.add_node(key, arg, find)
            if known is None:
                known = list(args)
            if type(found) is _Constant:
                known[at] = found.value
            else:
                known[at] = None
                places.append((at, found))  # type: ignore[arg-type]
        return args if known is None else tuple(known), places

    def _add_call(
        self, key: Hashable, node: Task, args: tuple[Any, ...], places: list[tuple[int, int]], find: Find
    ) -> int:
        """Add a task with keywords."""
        values, among = self._arguments(key, tuple(node.kwargs.values()), find)
        keywords: dict[str, Any] = dict(zip(node.kwargs, values))
        places = [(at + 2, number) for at, number in places]
        if among:
            items = tuple(item for pair in keywords.items() for item in pair)
            made = self._add(st.make_dict, items, [(2 * at + 1, number) for at, number in among], key)
            places.append((1, made))
            keywords = {}
        return self._add(st.call_with_keywords, (node.func, keywords, *args), places, key)

    def _add_subgraph(self, key: Hashable, node: Task, find: Find) -> int:
        """Add the steps of nodes that Dask has fused, so that no task orders them again."""
        inner, out, names, *outer = node.args
        args, places = self._arguments(key, tuple(outer), find)
        numbers: dict[Hashable, int | _Constant] = {name: _Constant(arg) for name, arg in zip(names, args)}
        numbers.update((names[at], number) for at, number in places)
        stack = [out]
        while stack:
            name = stack[-1]
            if name in numbers:
                stack.pop()
                continue
            each = inner[name]
            missing = [dep for dep in each.dependencies if dep not in numbers]
            if missing:
                stack.extend(missing)
                continue
            stack.pop()
            if type(each) is Alias:
                numbers[name] = numbers[each.target]
            elif type(each) is DataNode:
                numbers[name] = _Constant(each.value)
            else:
                numbers[name] = self.add_node(each.key, each, numbers.__getitem__)
        result = numbers[out]
        if type(result) is _Constant:
            return self._add(st.identity, (result.value,), [], key)
        assert type(result) is int
        if self.steps and result == self._inputs + len(self.steps) - 1:
            return result
        return self._add(st.identity, (None,), [(0, result)], key)  # the last step makes the task's result

    def set_drops(self) -> None:
        """Let the last step that needs a value drop it."""
        needed: set[int] = set()
        for number in range(len(self.steps) - 1, -1, -1):
            function, args, places, _, key = self.steps[number]
            drops = []
            for _, value in places:
                if value not in needed:
                    needed.add(value)
                    drops.append(value)
            if drops:
                self.steps[number] = (function, args, places, tuple(drops), key)
