"""The order in which ready runs start."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from futures_cluster import messages as m

from .builders import Desk, ended, row

Priority = tuple[int, int, int]


@given(st.lists(st.one_of(st.none(), st.tuples(st.integers(-1, 1), st.integers(-1, 1), st.integers(0, 9)))))
def test_the_smallest_priority_starts_first_and_among_equals_the_first_that_came(steps: list[Priority | None]) -> None:
    """A priority stands for a run that comes, None for the end of the one that executes."""
    desk = Desk()
    desk.given(m.RunTasks([row("first")]))
    executing = "first"
    model: list[tuple[Priority, int]] = []
    for number, priority in enumerate(steps):
        if priority is not None:
            desk.quiet(m.RunTasks([row(str(number), priority=priority)]))
            model.append((priority, number))
        elif model:
            model.sort()
            (command,) = desk.given(ended(executing))
            ((executing, _),) = command.runs
            assert executing == str(model.pop(0)[1])
        assert len(desk.machine.ready) == len(model)
