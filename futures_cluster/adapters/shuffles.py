"""Shuffles by tasks, whatever way Dask has chosen.

Covers: replacing the shuffles of frames and bags, and the rechunking of arrays, that go through files of one host
("disk", by partd) or through the workers of ``distributed`` ("p2p"); refusing what cannot be replaced. Does not cover:
what the new tasks do with rows (``shuffle_steps``); shuffles that go by tasks already, which are tasks like all others.

Dask chooses when a bag is grouped, when a frame goes into a delayed call, or when it optimizes, and each time before it
asks which scheduler will run the graph. An executor's workers may be on several hosts, and are none of
``distributed``: only tasks are right. So ``by_tasks`` replaces the others in each graph that comes in. The tasks that
write into the store and those that read from it become tasks that split, pick and join; which partition a row belongs
to stays as it was.

Between more than ``BRANCH`` partitions on both sides rows move in stages: first between groups and blocks of them,
whose numbers are the square roots. Otherwise the number of tasks would grow with the square of theirs.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from operator import getitem
from typing import Any

from dask._task_spec import Alias, DataNode, GraphNode, Task, TaskRef, _execute_subgraph, convert_legacy_graph

from futures_cluster.adapters.shuffle_steps import (
    group_items,
    join_frames,
    join_groups,
    merge_groups,
    merge_parts,
    number_rows,
    split_frame,
    split_groups,
    without_column,
)
from futures_cluster.adapters.steps import identity

#: Partitions up to which rows move in one stage, with a piece for each pair of partitions. A stage more moves all rows
#: once more; but each piece costs a task, and often a file when memory is short: milliseconds. As many as Dask has.
BRANCH = 32

_EXPRESSIONS = "dask.dataframe.dask_expr"
_P2P = "distributed.shuffle"
#: The functions of tasks that use a store: whether they make it, write into it or read from it, and which way.
_USES: dict[tuple[str, str], str] = {
    ("dask.dataframe.shuffle", "maybe_buffered_partd"): "make disk",
    ("partd.python", "Python"): "make disk",
    ("partd.file", "File"): "make disk",
    (f"{_EXPRESSIONS}._shuffle", "DiskShuffle._shuffle_group"): "write frame",
    ("dask.dataframe.shuffle", "collect"): "read frame",
    ("dask.bag.core", "partition"): "write bag",
    ("dask.bag.core", "collect"): "read bag",
    (f"{_EXPRESSIONS}._shuffle", "_shuffle_transfer"): "write p2p",
    (f"{_P2P}._shuffle", "shuffle_unpack"): "read p2p",
    (
        f"{_EXPRESSIONS}._merge",
        "create_assign_index_merge_transfer.<locals>.assign_index_merge_transfer",
    ): "write merge",
    (f"{_P2P}._merge", "merge_unpack"): "read merge",
    (f"{_P2P}._core", "p2p_barrier"): "make p2p",
    (f"{_P2P}._rechunk", "rechunk_transfer"): "write rechunk",
    (f"{_P2P}._rechunk", "rechunk_unpack"): "read rechunk",
}

_CONTAINERS = (list, tuple, set, frozenset, dict)
#: The use of a task that gets a store of the caller's.
HELD = "hold disk"


@dataclass
class _Shuffle:
    """One shuffle of a graph.

    Attributes
    ----------
    values : list of Task
        What makes the values that are shuffled, in their order, under the keys of the tasks that write them.
    split, join : callable
        What takes a value apart, and makes one of its pieces.
    column : object
        Of a frame: which holds the number of the partition.
    parts : set of int
        Numbers of the partitions that are read.
    joined : dict
        From these to the keys of the tasks that put them together.
    """

    split: Callable[..., Any]
    join: Callable[..., Any]
    column: Any = None
    values: list[Task] = field(default_factory=list)
    parts: set[int] = field(default_factory=set)
    joined: dict[int, Any] = field(default_factory=dict)


def by_tasks(graph: Mapping[Hashable, Any]) -> tuple[Mapping[Hashable, Any], dict[Hashable, str]]:
    """Replace shuffles that use files or ``distributed`` by shuffles through tasks.

    Parameters
    ----------
    graph : dict
        From keys to nodes of ``dask._task_spec``.

    Returns
    -------
    graph : dict
        The same one if there is nothing to replace.
    left : dict
        From keys of tasks that still use such a store to how they use it.
    """
    if "partd" not in sys.modules and f"{_P2P}._core" not in sys.modules:
        return graph, {}  # Dask loads them when it makes such a graph
    held = _held_stores(graph)
    known: dict[int, str] = {}
    found = [key for key, node in graph.items() if _use(node, known)]
    if not found:
        return graph, held
    graph = dict(graph)
    using: dict[Hashable, str] = {}
    for key in found:
        using.update(_take_apart(graph, key, known))
    shuffles = _shuffles(graph, using)
    for number, shuffle in enumerate(shuffles.values()):
        if shuffle.parts:
            graph.update((value.key, value) for value in shuffle.values)
            keys = [value.key for value in shuffle.values]
            shuffle.joined = _exchange(graph, (number,), keys, sorted(shuffle.parts), shuffle)
            for value in shuffle.values:
                del using[value.key]
    _rechunk(graph, using)
    for key, use in list(using.items()):
        reads = _reads(graph, graph[key], use)
        if reads and all(store in shuffles and shuffles[store].joined for store, _ in reads):
            graph[key] = _reader(graph[key], use, [(shuffles[store], part) for store, part in reads])
            del using[key]
    return graph, using | held


def refuse(left: Mapping[Hashable, str], needed: Collection[Hashable]) -> None:
    """Refuse a graph whose tasks share something of one host or of ``distributed``.

    Parameters
    ----------
    left : dict
        From ``by_tasks``.
    needed : collection
        Keys of the tasks that will run.

    Raises
    ------
    ValueError
        With what to do instead.
    """
    for key in left.keys() & needed:
        if left[key].endswith("rechunk"):
            raise ValueError(
                f"the task {key!r} rechunks an array by way of a distributed.Client's workers (P2P), and runs on an "
                "executor's; rechunk with method='tasks', set array.rechunk.method to 'tasks' in Dask's configuration, "
                "or make the executor the default (as_default) before the array is rechunked"
            )
        if left[key].endswith(("p2p", "merge")):
            raise ValueError(
                f"the task {key!r} shuffles by way of a distributed.Client's workers (P2P), and runs on an executor's; "
                "set dataframe.shuffle.method to 'tasks' in Dask's configuration, or make the executor the default "
                "(as_default), before the collection is made"
            )
        if left[key] == HELD:
            raise ValueError(
                f"the task {key!r} has a partd store among its arguments, of which each worker would get a copy, or a "
                "folder that workers on other hosts do not see, so rows would be lost; write into files that all "
                "hosts see"
            )
        raise ValueError(
            f"the task {key!r} uses a folder of its own host (partd), which workers on other hosts do not see, so rows "
            "would be lost; set dataframe.shuffle.method to 'tasks' in Dask's configuration, or write into files that "
            "all hosts see"
        )


# ---------------------------------------------------------------- what is there


def _use(node: Any, known: dict[int, str]) -> str:
    """Return how a node, its fused nodes or its arguments use a store."""
    if not isinstance(node, Task):
        return ""
    func = node.func
    if func is _execute_subgraph:
        inside = node.args[0].values()
    else:
        use = known.get(id(func))
        if use is None:
            named = func if hasattr(func, "__qualname__") else type(func)
            use = known[id(func)] = _USES.get((getattr(named, "__module__", ""), named.__qualname__), "")
        if use:
            return use
        inside = node.args
    for inner in inside:
        if isinstance(inner, Task) and (use := _use(inner, known)):
            return use
    return ""


def _held_stores(graph: Mapping[Hashable, Any]) -> dict[Hashable, str]:
    """Return the tasks that get a store which the caller has made.

    The store is an argument, or in a container that is one.
    """
    core = sys.modules.get("partd.core")
    if core is None:
        return {}
    store: type = core.Interface

    @functools.cache
    def matters(kind: type) -> bool:  # a value of this type is a store, or may hold one
        return kind in _CONTAINERS or issubclass(kind, (store, Task, DataNode))

    def holds(values: Iterable[Any]) -> bool:
        for value in values:
            kind: Any = type(value)
            if not matters(kind):
                continue
            if issubclass(kind, store):
                return True
            if kind is DataNode:
                inside: Collection[Hashable] = (value.value,)
            elif issubclass(kind, Task):
                inside = (*value.args, *value.kwargs.values()) if value.kwargs else value.args
            else:
                inside = value.values() if kind is dict else value
            # Of long lists of numbers the types alone are looked at.
            if inside and any(map(matters, set(map(type, inside)))) and holds(inside):
                return True
        return False

    return {key: HELD for key, node in graph.items() if holds((node,))}


def _take_apart(graph: dict[Hashable, Any], key: Hashable, known: dict[int, str]) -> dict[Hashable, str]:
    """Make nodes of the tasks that use stores, apart from those fused with them.

    Returns their keys, and how they use it.
    """
    node = graph[key]
    use = _use(node, known)
    if not use or known.get(id(node.func)):
        return {key: use} if use else {}
    if node.func is _execute_subgraph:
        inner, out, names, *outer = node.args
        subs = {name: _node_or_key(arg) for name, arg in zip(names, outer)}
        subs.update((name, key if name == out else (name, key)) for name in inner)
        graph.update((subs[name], each.substitute(subs, key=subs[name])) for name, each in inner.items())
        made = [subs[name] for name in inner]
    else:
        args = list(node.args)
        made = []
        for at, arg in enumerate(args):
            if _use(arg, known):
                name = (arg.key if arg.key is not None else f"argument-{at}", key)
                graph[name] = arg.substitute({}, key=name)
                args[at] = TaskRef(name)
                made.append(name)
        graph[key] = Task(key, node.func, *args, **node.kwargs)
    using: dict[Hashable, str] = {}
    for name in made:
        using.update(_take_apart(graph, name, known))
    return using


def _node_or_key(arg: Any) -> Any:
    """Return what ``substitute`` takes."""
    if isinstance(arg, TaskRef):
        return arg.key
    return arg if isinstance(arg, GraphNode) else DataNode(None, arg)


def _shuffles(graph: Mapping[Hashable, Any], using: Mapping[Hashable, str]) -> dict[Hashable, _Shuffle]:
    """Return the shuffles by their stores.

    A store is the key of the file's task, or P2P's identifier.
    """
    shuffles: dict[Hashable, _Shuffle] = {}
    specs = _specs(graph, using)
    for key, use in using.items():
        args = graph[key].args
        column = None
        store: Hashable
        if use == "write frame" and len(args) == 4:
            frame, column, _, file = args
            store, value = _key(graph, file), Task(key, identity, frame)
        elif use == "write p2p" and len(args) == 3:
            frame, store, _ = args
            column, value = getattr(specs.get(store), "column", "_partitions"), Task(key, identity, frame)
        elif use == "write merge" and len(args) == 7:
            frame, index, column, partitions, store, _, is_index = args
            value = Task(key, number_rows, frame, index, column, partitions, is_index)
        elif use == "write bag" and len(args) == 5:
            grouper, items, partitions, file, _ = args
            store, value = _key(graph, file), Task(key, group_items, grouper, items, partitions)
        elif use.startswith("write ") and use != "write rechunk":
            return {}  # of another version of Dask: as its rows would be lost, nothing is replaced
        else:
            continue
        if store is None:
            return {}
        if store not in shuffles:
            split, join = (split_groups, join_groups) if use == "write bag" else (split_frame, join_frames)
            shuffles[store] = _Shuffle(split, join, column)
        shuffles[store].values.append(value)
    for key, use in using.items():
        for store, part in _reads(graph, graph[key], use):
            if store in shuffles:
                shuffles[store].parts.add(part)
    return shuffles


def _specs(graph: Mapping[Hashable, Any], using: Mapping[Hashable, str]) -> dict[Hashable, Any]:
    """Return what P2P's tasks say of their shuffle, by its identifier.

    These are the tasks between writing and reading.
    """
    nodes = [graph[key] for key, use in using.items() if use == "make p2p"]
    return {node.spec.id: node.spec for node in nodes if hasattr(node, "spec")}  # which Dask's fusing may have dropped


def _reads(graph: Mapping[Hashable, Any], node: Task, use: str) -> list[tuple[Hashable, int]]:
    """Return the stores and partitions that a task reads."""
    args = node.args
    if use == "read frame":
        return [(_key(graph, args[0]), args[1])]
    if use == "read bag":
        return [(_key(graph, args[2]), args[1])]
    if use == "read p2p":
        return [(args[0], args[1])]
    if use == "read merge":
        return [(args[0], args[2]), (args[1], args[2])]
    return []


def _key(graph: Mapping[Hashable, Any], reference: Any) -> Hashable:
    """Return the key behind a reference, and behind aliases."""
    key: Hashable = getattr(reference, "key", None)
    while isinstance(node := graph.get(key), Alias) and node.target != key:
        key = node.target
    return key


# ---------------------------------------------------------------- what takes its place


def _exchange(
    graph: dict[Hashable, Any], path: tuple[int, ...], values: list[Any], parts: list[int], shuffle: _Shuffle
) -> dict[int, Any]:
    """Add the tasks that bring pieces to each partition; return the partitions' keys."""
    is_last = len(parts) <= BRANCH or len(values) <= BRANCH
    blocks = [[part] for part in parts] if is_last else _runs(parts, math.ceil(len(parts) ** 0.5))
    groups = [values] if is_last else _runs(values, math.ceil(len(values) ** 0.5))
    starts = [block[0] for block in blocks]
    joined: list[list[Any]] = [[] for _ in blocks]
    for number, group in enumerate(groups):
        here = (*path, number)
        for at, value in enumerate(group):
            key = ("shuffle-split", *here, at)
            graph[key] = Task(key, shuffle.split, TaskRef(value), starts, is_last, shuffle.column)
        for block in range(len(blocks)):
            picked = []
            for at in range(len(group)):
                key = ("shuffle-pick", *here, at, block)
                graph[key] = Task(key, getitem, TaskRef(("shuffle-split", *here, at)), block)
                picked.append(TaskRef(key))
            key = ("shuffle-join", *here, block)
            graph[key] = Task(key, shuffle.join, *picked)
            joined[block].append(key)
    if is_last:
        return {part: keys[0] for part, keys in zip(parts, joined)}
    made: dict[int, Any] = {}
    for number, (block_parts, keys) in enumerate(zip(blocks, joined)):
        made.update(_exchange(graph, (*path, len(groups) + number), keys, block_parts, shuffle))
    return made


def _runs(items: list[Any], size: int) -> list[list[Any]]:
    return [items[at : at + size] for at in range(0, len(items), size)]


def _reader(node: Task, use: str, reads: list[tuple[_Shuffle, int]]) -> GraphNode:
    """Return what takes the place of a task that reads partitions."""
    parts = [TaskRef(shuffle.joined[part]) for shuffle, part in reads]
    columns = tuple(shuffle.column for shuffle, _ in reads)
    if use == "read bag":
        return Task(node.key, merge_groups, *parts)
    if use == "read p2p":
        return Task(node.key, without_column, *parts, *columns)
    if use == "read merge":
        return Task(node.key, merge_parts, *parts, columns, *node.args[5:])
    return Alias(node.key, parts[0].key)


def _rechunk(graph: dict[Hashable, Any], using: dict[Hashable, str]) -> None:
    """Let arrays be rechunked by tasks, as ``Array.rechunk`` does it, and not by P2P."""
    specs = _specs(graph, using)
    written: dict[str, dict[tuple[int, ...], Any]] = {}
    for key, use in using.items():
        if use == "write rechunk":
            _, store, chunk = graph[key].args
            written.setdefault(store, {})[chunk] = key
    for store, chunks in written.items():
        if store not in specs:
            continue
        old, new = specs[store].old, specs[store].new
        for key in chunks.values():
            graph[key] = Task(key, identity, graph[key].args[0])
            del using[key]
        name = f"rechunk-{store}"
        layer = {(name, *chunk): Alias((name, *chunk), key) for chunk, key in chunks.items()}
        import dask.array as da

        array = da.Array(layer, name, old, dtype=float)  # of any type: it is not looked at
        array = array.rechunk(new, method="tasks")
        graph.update(convert_legacy_graph(dict(array.__dask_graph__())))
        for key, use in list(using.items()):
            if use == "read rechunk" and graph[key].args[0] == store:
                graph[key] = Alias(key, (array.name, *graph[key].args[1]))
                del using[key]
