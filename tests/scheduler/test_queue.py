"""The order of ready tasks."""

from __future__ import annotations

from types import SimpleNamespace as Entry

import pytest
from hypothesis import given
from hypothesis import strategies as st

from futures_cluster.worker.ready_queue import ReadyQueue

Level = tuple[int, int]


def test_level_then_serial_decide() -> None:
    queue: ReadyQueue[Entry] = ReadyQueue()
    for level, serial in [((0, 0), 1), ((0, 0), 2), ((-1, 0), 3), ((0, -1), 4), ((0, 0), 0)]:
        queue.push(Entry(level=level, serial=serial))
    assert [queue.pop().serial for _ in range(len(queue))] == [3, 4, 0, 1, 2]


def test_an_empty_queue_has_no_first() -> None:
    queue: ReadyQueue[Entry] = ReadyQueue()
    with pytest.raises(IndexError):
        queue.pop()
    with pytest.raises(IndexError):
        queue.first()
    queue.extend([])
    assert not len(queue)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("push"), st.tuples(st.integers(-1, 1), st.integers(-1, 1)), st.integers(0, 9)),
            st.tuples(st.just("extend"), st.tuples(st.integers(-1, 1), st.integers(-1, 1)), st.integers(0, 9)),
            st.just(("pop", (0, 0), 0)),
        )
    )
)
def test_it_behaves_as_a_sorted_list(steps: list[tuple[str, Level, int]]) -> None:
    queue: ReadyQueue[Entry] = ReadyQueue()
    model: list[tuple[Level, int]] = []
    for what, level, serial in steps:
        if what == "push":
            queue.push(Entry(level=level, serial=serial))
            model.append((level, serial))
        elif what == "extend":
            queue.extend([Entry(level=level, serial=serial + i) for i in range(3)])
            model.extend((level, serial + i) for i in range(3))
        elif model:
            model.sort()
            first = queue.first()
            assert queue.pop() is first
            assert (first.level, first.serial) == model.pop(0)
        assert len(queue) == len(model)
