"""Sums on an executor: tasks an iteration, and the same bits wherever blocks are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
from hypothesis import given, settings
from hypothesis import strategies as st

from futures_cluster.glm import sums
from futures_cluster.glm.families import Bernoulli
from futures_cluster.glm.rowblocks import split_rows
from futures_cluster.glm.sums import ExecutorSums, LocalSums

RNG = np.random.default_rng(0)
X = RNG.standard_normal((300, 3))
Y = RNG.choice([-1.0, 1.0], 300)
THETA = np.array([0.5, -1.0, 0.25, 0.1])


class Value:
    """A future that is done."""

    def __init__(self, value: Any, holder: str | None = None) -> None:
        self.value = value
        self._holders = None if holder is None else [(holder, "address")]

    def result(self) -> Any:
        return self.value


class TaskStreamRecorder:
    """An executor that runs at once and remembers which blocks its tasks had."""

    def __init__(self, workers: int = 2) -> None:
        self._max_workers = workers
        self.tasks: list[tuple[str, int]] = []

    def submit(self, fn: Any, *args: Any) -> Value:
        inputs = [each for each in args if isinstance(each, Value)]
        self.tasks.append((fn.__name__, len(inputs)))
        return Value(fn(*[each.value if isinstance(each, Value) else each for each in args]))

    def scatter(self, value: Any) -> Any:
        return value


def placed(holders: list[str | None], workers: int = 2, **options: Any) -> tuple[ExecutorSums, TaskStreamRecorder]:
    recorder = TaskStreamRecorder(workers)
    blocks = [Value(*pair) for pair in zip(split_rows(X, Y, None, len(holders)), holders)]
    return ExecutorSums(recorder, blocks, 300, 3, **options), recorder


#: Blocks that stay where they are.
LARGE = {"nbytes": 2 * sums.GROUP_BYTES}


@pytest.mark.parametrize(
    ("holders", "options", "inputs"),
    [
        ([None] * 8, {}, [4, 4]),
        (["a", "a", "a", "a", "b", "b", "b", "b"], LARGE, [4, 4]),
        (["a", "b"] * 4, LARGE, [4, 4]),
        (["a"] * 8, LARGE, [4, 4]),
        (["a"] * 6 + ["b"] * 2, LARGE, [4, 2, 2]),
        (["a"] * 6 + ["b"] * 2, {}, [4, 4]),
        (["a", "a", "b", "a"], {}, [2, 2]),
        ([None] * 8, {"nbytes": 4 * sums.GROUP_BYTES}, [2, 2, 2, 2]),
        ([None] * 8, {"nbytes": 80 * sums.GROUP_BYTES}, [1] * 8),
        ([None], {}, [1]),
    ],
)
def test_one_task_a_worker_for_each_pass(holders: list[str | None], options: Any, inputs: list[int]) -> None:
    rows, recorder = placed(holders, **options)
    rows.sums(Bernoulli(), True, THETA, 1)
    rows.product(Bernoulli(), True, THETA, THETA)
    rows.diagonal(Bernoulli(), True, THETA)
    assert recorder.tasks == [("sum_of_group", number) for number in inputs] * 3


def test_large_vectors_are_added_by_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "SMALL_BYTES", 0)
    rows, recorder = placed(["a"] * 4 + ["b"] * 4)
    rows.sums(Bernoulli(), True, THETA, 1)
    assert recorder.tasks == [("sum_of_group", 4), ("sum_of_group", 4), ("add_nodes", 2)]
    rows, recorder = placed(["a", "b"] * 10, **LARGE)
    rows.sums(Bernoulli(), True, THETA, 1)
    adding = [inputs for name, inputs in recorder.tasks if name == "add_nodes"]
    assert adding == [8, 8, 4, 3]


def test_neighbours_of_small_data_go_together() -> None:
    """So the sums of a group are one vector, and come with the message that its task has finished."""
    rows, _ = placed(["a", "b"] * 4)
    assert rows._groups() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    rows, _ = placed(["a", "b"] * 4, **LARGE)
    assert rows._groups() == [[0, 2, 4, 6], [1, 3, 5, 7]]


def test_workers_take_turns() -> None:
    """Tasks are given out in this order: if one worker's came first, the others would take them from it."""
    rows, _ = placed(["a"] * 4 + ["b"] * 2, nbytes=6 * sums.GROUP_BYTES)
    assert rows._groups() == [[0], [4], [1], [5], [2], [3]]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([None, "a", "b", "c"]), min_size=1, max_size=21),
    st.integers(1, 5),
    st.booleans(),
    st.sampled_from([{}, LARGE]),
)
def test_the_same_bits_wherever_blocks_are(
    holders: list[str | None], workers: int, large: bool, options: dict[str, int]
) -> None:
    rows, _ = placed(holders, workers, **options)
    with pytest.MonkeyPatch.context() as patch, LocalSums([each.value for each in rows.blocks], threads=1) as local:
        if large:
            patch.setattr(sums, "SMALL_BYTES", 0)
        for order in (0, 1, 2):
            expected = local.sums(Bernoulli(), True, THETA, order)
            np.testing.assert_array_equal(rows.sums(Bernoulli(), True, THETA, order), expected)
        expected = local.product(Bernoulli(), True, THETA, THETA)
        np.testing.assert_array_equal(rows.product(Bernoulli(), True, THETA, THETA), expected)
