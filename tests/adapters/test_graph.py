"""From Dask's graph to steps: the same values as Dask's own, however much is packed into one task.

Covers: packing, aliases, fused graphs, containers, keywords, order, what is let go when. Nothing runs elsewhere.
"""

from __future__ import annotations

from operator import getitem
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("dask")

import dask.local
from dask._task_spec import Alias, DataNode, Dict, List, Task, TaskRef, convert_legacy_graph, fuse_linear_task_spec

from futures_cluster import Future
from futures_cluster.adapters import graph as graphs
from futures_cluster.adapters.graph import Plan
from futures_cluster.adapters.nodes import FutureAlias, futures_of
from futures_cluster.adapters.steps import run_steps
from futures_cluster.adapters.submit import _GraphFunctions, _Names
from futures_cluster.wire.codec.pickling import HERE


def no_future(key: Any) -> Future:
    raise ValueError(f"{key!r} is missing")


def done(value: Any) -> Future:
    future = Future("done")
    future.set_result(value)
    return future


def run(plan: Plan) -> dict[Any, Any]:
    """Run groups in their order, inputs first; the values of the wanted keys."""
    values: dict[int, Any] = {}
    for group in sorted(plan.groups, key=lambda group: group.last.number):
        steps, inputs = plan.steps(group)
        values[id(group)] = run_steps(
            steps, *[each.result() if isinstance(each, Future) else values[id(each)] for each in inputs]
        )
    return {key: end.result() if isinstance(end, Future) else values[id(end)] for key, end in plan.wanted.items()}


def joined(*args: Any, **kwargs: Any) -> Any:
    return ("joined", args, tuple(sorted(kwargs.items())))


def split_into(first: int, pieces: int) -> dict[int, int]:
    return {j: first + j for j in range(pieces)}


@st.composite
def random_graphs(draw: st.DrawFn) -> tuple[dict[Any, Any], list[Any]]:
    """Nodes of all kinds, each of which needs only earlier ones."""
    graph: dict[Any, Any] = {}
    keys: list[Any] = []
    for number in range(draw(st.integers(1, 25))):
        key: Any = ("tuple", number) if draw(st.booleans()) else f"text-{number}"
        deps = [TaskRef(dep) for dep in draw(st.lists(st.sampled_from(keys), max_size=3))] if keys else []
        kind = draw(st.sampled_from(["task", "data", "large", "alias", "list", "keywords", "nested"]))
        if kind == "alias" and deps:
            graph[key] = Alias(key, deps[0].key)
        elif kind == "data":
            graph[key] = DataNode(key, number)
        elif kind == "large":
            graph[key] = DataNode(key, [number] * 3)
        elif kind == "list" and deps:
            graph[key] = Task(key, joined, List(*deps, number), Dict({"a": deps[0], "b": 5}))
        elif kind == "keywords" and deps:
            graph[key] = Task(key, joined, number, first=deps[0], second=List(*deps), third=[1])
        elif kind == "nested" and deps:
            graph[key] = Task(key, joined, Task(None, joined, *deps, number), number)
        else:
            graph[key] = Task(key, joined, number, *deps)
        keys.append(key)
    wanted = draw(st.lists(st.sampled_from(keys), min_size=1, max_size=4, unique=True))
    return graph, wanted


@given(random_graphs(), st.integers(0, 3), st.integers(1, 4))
def test_same_values_as_dask(example: tuple[dict[Any, Any], list[Any]], slots: int, least: int) -> None:
    graph, wanted = example
    expected = dict(zip(wanted, dask.local.get_sync(graph, wanted)))
    before, graphs.MIN_GROUPS = graphs.MIN_GROUPS, least
    try:
        plan = Plan(graph, wanted, no_future, {}, slots)
        assert run(plan) == expected
    finally:
        graphs.MIN_GROUPS = before
    assert set(map(type, plan.wanted.values())) <= {graphs.Group}
    names = _Names(plan, "@1")
    assert len({names[group] for group in plan.groups}) == len(plan.groups)


@given(random_graphs())
def test_fused_graphs_are_taken_apart(example: tuple[dict[Any, Any], list[Any]]) -> None:
    graph, wanted = example
    expected = dict(zip(wanted, dask.local.get_sync(graph, wanted)))
    plan = Plan(fuse_linear_task_spec(graph, set(wanted)), wanted, no_future)
    for group in plan.groups:
        steps, _ = plan.steps(group)
        assert all(step[0].__name__ != "_execute_subgraph" for step in steps)
    assert run(plan) == expected


def test_a_fused_graph_of_aliases() -> None:
    graph = {
        "a": Task("a", abs, -1),
        "b": Task.fuse(Alias("inner", "a"), Alias("b", "inner")),
        "c": Task.fuse(Task("three", abs, -3), Alias("b2", "a"), Task("c", max, TaskRef("b2"), TaskRef("three"))),
    }
    assert run(Plan(graph, ["b", "c"], no_future)) == {"b": 1, "c": 3}


def chain(length: int, branches: int) -> dict[Any, Any]:
    """Chains that end in one sum."""
    graph: dict[Any, Any] = {}
    for branch in range(branches):
        graph["x", branch, 0] = (abs, -branch)
        for place in range(1, length):
            graph["x", branch, place] = (abs, ("x", branch, place - 1))
    graph["sum"] = (sum, [("x", branch, length - 1) for branch in range(branches)])
    return convert_legacy_graph(graph)


def test_small_graphs_are_not_packed() -> None:
    blocks = chain(10, 10)
    graph = {str(key): node.substitute({dep: str(dep) for dep in blocks}, str(key)) for key, node in blocks.items()}
    assert len(Plan(graph, ["sum"], no_future, {}, 2).groups) == len(graph) == 101
    graph["block", 0] = Task(("block", 0), abs, TaskRef("sum"))  # of a delayed call, which stays one
    assert len(Plan(graph, [("block", 0)], no_future, {}, 2).groups) == 102


def test_chains_of_blocks_are_packed_always() -> None:
    plan = Plan(chain(10, 10), ["sum"], no_future, {}, 2)
    assert sorted(len(group.nodes) for group in plan.groups) == [1] + [10] * 10
    assert run(plan) == {"sum": sum(range(10))}
    plan = Plan(chain(100, 1), ["sum"], no_future, {}, 2)
    assert [len(group.nodes) for group in plan.groups] == [graphs.MAX_PACKED, 100 - graphs.MAX_PACKED, 1]
    assert run(plan) == {"sum": 0}


def test_no_chain_where_tasks_may_run_at_the_same_time() -> None:
    graph = convert_legacy_graph(
        {("x", 0): (abs, 1), ("y", 0): (abs, ("x", 0)), ("y", 1): (abs, ("x", 0))}
        | {("z", i): (abs, ("y", i)) for i in range(2)}
        | {("sum", 0): (max, ("z", 0), ("z", 1))}
    )
    plan = Plan(graph, [("sum", 0)], no_future, {}, 2)
    assert sorted(group.last.key for group in plan.groups) == [("sum", 0), ("x", 0), ("z", 0), ("z", 1)]
    plan = Plan(graph, [("sum", 0), ("y", 0)], no_future, {("z", 1): object()}, 2)
    assert len(plan.groups) == 6


@pytest.mark.parametrize("slots", [1, 2, 8])
def test_large_graphs_are_packed_as_far_as_all_slots_have_enough(slots: int) -> None:
    graph = chain(8, 600)
    plan = Plan(graph, ["sum"], no_future, {}, slots)
    size = len(graph) // (slots * graphs.MIN_GROUPS)
    assert graphs.MIN_GROUPS * slots <= len(plan.groups) < len(graph) / 2
    assert max(len(group.nodes) for group in plan.groups) <= size
    assert run(plan) == {"sum": sum(range(600))}


def test_a_task_has_few_inputs_unless_one_node_needs_them() -> None:
    graph = convert_legacy_graph(
        {("x", i): (abs, i) for i in range(2000)}
        | {("pair", i): (max, ("x", i), ("x", 1999 - i)) for i in range(2000)}
        | {("sum", i): (sum, [("pair", j) for j in range(i, 2000, 20)]) for i in range(20)}
    )
    plan = Plan(graph, [("sum", i) for i in range(20)], no_future, {}, 1)
    for group in plan.groups:
        inputs = len(plan.steps(group)[1])
        assert inputs <= graphs.MAX_INPUTS or len(group.nodes) == 1 or group.last.key[0] == "sum"


@pytest.mark.parametrize("pick", [(getitem,), (dict.get,)])
def test_pieces_of_a_shuffle_are_tasks_of_their_own(pick: tuple[Any, ...]) -> None:
    """They run where the whole is, and soon after it, so that it neither moves nor is kept."""
    size = 12
    graph: dict[Any, Any] = {("made", i): (abs, i) for i in range(size)}
    graph |= {("split", i): (split_into, ("made", i), size) for i in range(size)}
    graph |= {("pick", i, j): (*pick, ("split", i), j) for i in range(size) for j in range(size)}
    graph |= {("join", j): (list, [("pick", i, j) for i in range(size)]) for j in range(size)}
    graph["all"] = (list, [("join", j) for j in range(size)])
    plan = Plan(convert_legacy_graph(graph), ["all"], no_future, slots=1)
    assert run(plan) == {"all": [[i + j for i in range(size)] for j in range(size)]}
    names = [group.last.key[0] for group in plan.groups]
    assert names.count("pick") == size * size
    assert names[: size + 1] == ["split"] + ["pick"] * size  # a chain of blocks makes and splits
    for group in plan.groups:
        inputs = [each.last.key[0] for each in plan.steps(group)[1]]
        assert "split" not in inputs or group.last.key[0] == "pick"


def test_wanted_nodes_and_options_of_their_own_are_kept_apart() -> None:
    graph = chain(8, 600)
    option = object()
    plan = Plan(graph, ["sum", ("x", 3, 4)], no_future, {("x", 5, 2): option}, 1)
    ends = {group.last.key: group for group in plan.groups}
    assert ("x", 3, 4) in ends and plan.wanted["x", 3, 4] is ends["x", 3, 4]
    assert [node.key for node in ends["x", 5, 2].nodes] == [("x", 5, 2)] and ends["x", 5, 2].options is option
    assert run(plan) == {"sum": sum(range(600)), ("x", 3, 4): 3}


def test_the_order_is_dasks() -> None:
    from dask.order import order

    graph = chain(3, 5)
    places = order(graph)
    plan = Plan(graph, ["sum"], no_future)
    assert [group.last.key for group in plan.groups] == sorted(graph, key=places.__getitem__)


def test_values_are_let_go_with_their_last_user() -> None:
    alive: list[int] = []

    class Value:
        def __init__(self) -> None:
            alive.append(1)

        def __del__(self) -> None:
            alive.pop()

    def follow(value: Value) -> Value:
        del value
        seen.append(len(alive))
        return Value()

    seen: list[int] = []
    graph: dict[Any, Any] = {0: Task(0, Value)}
    for number in range(1, 10):
        graph[number] = Task(number, follow, TaskRef(number - 1))
    fused = Task.fuse(*graph.values())
    plan = Plan({9: fused}, [9], no_future)
    steps, _ = plan.steps(plan.groups[0])
    run_steps(steps)
    assert len(seen) == 9 and max(seen) <= 2


def test_what_is_not_needed_is_left_out() -> None:
    graph = convert_legacy_graph({"a": 1, "b": (abs, "a"), "c": (abs, "b"), "d": (abs, "a")})
    assert [group.last.key for group in Plan(graph, ["b"], no_future).groups] == ["b"]


def test_missing_keys_are_asked_for() -> None:
    graph = {"b": Task("b", abs, TaskRef("elsewhere"))}
    with pytest.raises(ValueError, match="elsewhere"):
        Plan(graph, ["b"], no_future)
    plan = Plan(graph, ["b", "elsewhere"], lambda key: done(-3))
    assert run(plan) == {"b": 3, "elsewhere": -3}
    assert list(plan.futures) == ["done"]


def test_futures_in_the_graph() -> None:
    future = done(4)
    node = FutureAlias("a", future)
    graph = {"a": node, "b": Alias("b", "a"), "c": Task("c", max, TaskRef("b"), 3)}
    plan = Plan(graph, ["a", "b", "c"], no_future)
    assert run(plan) == {"a": 4, "b": 4, "c": 4}
    assert plan.wanted["a"] is plan.wanted["b"] is future
    assert node.copy().future is future and node.substitute({}, key="z").key == "z"
    assert node.substitute({"a": "y"}).future is future and node.substitute({"q": "y"}) is node
    assert node.result() == 4 and node.block_fusion and "FutureAlias" in repr(node)


def test_futures_are_called_so_where_dask_is_loaded() -> None:
    """Although to ``isinstance`` they are Dask's references, too."""
    assert repr(Future()).startswith("<Future at 0x")
    future = Future("key")
    assert isinstance(future, TaskRef) and isinstance(future, Future)
    assert future.__class__.__name__ == "Future" and repr(future) == "<Future key pending>"


def test_futures_are_found() -> None:
    class Collection:
        def __init__(self, graph: dict[Any, Any]) -> None:
            self.graph = graph

        def __dask_graph__(self) -> dict[Any, Any]:
            return self.graph

    first, second, third = done(1), done(2), done(3)
    graph = {"a": FutureAlias("a", first), "b": Task("b", abs, second), "c": Task("c", abs, List(third, 1), x=[first])}
    assert futures_of(Collection(graph), [second]) == [first, second, third]


def test_keys_with_the_same_text_have_different_names() -> None:
    graph = {("x", 0): Task(("x", 0), abs, 1), "('x', 0)": Task("('x', 0)", abs, 2), "z": Task("z", abs, 3)}
    plan = Plan(graph, list(graph), no_future)
    names = _Names(plan, "@1")
    assert sorted(names[group] for group in plan.groups) == ["('x', 0)#2@1", "('x', 0)@1", "z@1"]


def test_large_functions_become_inputs() -> None:
    data = bytes(100_000)

    def large() -> int:
        return len(data)

    def other() -> int:
        return len(data) + 1

    steps: list[Any] = [(large, (), (), (), "a"), (max, (1, None, None), ((1, 1), (2, 0)), (1,), "b")]
    steps.append((other, (), (), (), "c"))
    steps.append((max, (None, None), ((0, 2), (1, 3)), (2, 3), "d"))
    steps.append((large, (), (), (), "e"))
    functions = _GraphFunctions(HERE)
    found = functions.replace(steps)
    assert [each.function for each in found] == [large, other]
    assert run_steps((steps[:4], 2), 100_003, large, other) == 100_003
    assert run_steps((steps, 2), 5, large, other) == 100_000
    assert steps[1] == (max, (1, None, None), ((1, 1), (2, 0)), (1,), "b"), "no number has changed"
    again: list[Any] = [(large, (), (), (), "d")]
    assert functions.replace(again) == found[:1] and run_steps((again, 1), large) == 100_000


def test_errors_name_the_key() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        run_steps([(divmod, (1, 0), (), (), ("x", 3))])
    assert caught.value.__notes__ == ["in the task ('x', 3)"]
