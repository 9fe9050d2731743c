"""Random histories of an executor on threads, with the sync engine as the oracle.

Covers: submitting, futures among arguments, cancelling, callbacks, tasks that wait for tasks, shutting down, in any
order. Does not cover: options (``engine_checks``), speed. Tasks wait at gates that the history opens; nothing sleeps.
"""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError
from typing import Any

import hypothesis.strategies as st
from gate import LIMIT_S
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from futures_cluster import Executor, Future, current_executor


def compute(kind: str, gate: threading.Event, number: int, values: list[Any]) -> Any:
    """What each task does."""
    assert gate.wait(LIMIT_S)
    total = number + sum(values)
    if kind == "fail":
        raise ValueError(total)
    if kind == "nested":
        ex = current_executor()
        return sum(child.result(LIMIT_S) for child in [ex.submit(abs, -total), ex.submit(abs, -1)]) - 1
    return total


class Call:
    """One call, on threads and as the oracle has it."""

    def __init__(self, kind: str, inputs: list[Call], future: Future, expected: Future, gate: threading.Event) -> None:
        self.kind = kind
        self.inputs = inputs
        self.future = future
        self.expected = expected
        self.gate = gate
        self.called_back: list[Any] = []
        self.callbacks = 0
        self.was_cancelled = False

    def errors(self) -> set[Any]:
        """What it may fail with."""
        found = set().union(*[each.errors() for each in self.inputs])
        error = self.expected.exception()
        return found or (set() if error is None else {error.args[0]})


class Histories(RuleBasedStateMachine):
    """A program that does anything with its executor."""

    def __init__(self) -> None:
        super().__init__()
        self.ex = Executor(2, backend="threads")
        self.oracle = Executor(backend="sync")
        self.calls: list[Call] = []
        self.open = threading.Event()
        self.open.set()
        self.is_shut = False

    @rule(
        kind=st.sampled_from(["value", "value", "fail", "nested"]),
        is_gated=st.booleans(),
        inputs=st.lists(st.integers(0, 30), max_size=2),
    )
    def submit(self, kind: str, is_gated: bool, inputs: list[int]) -> None:
        gate = threading.Event() if is_gated else self.open
        needed = [self.calls[index % len(self.calls)] for index in inputs] if self.calls else []
        number = len(self.calls)
        try:
            future = self.ex.submit(compute, kind, gate, number, [call.future for call in needed])
        except RuntimeError as error:
            assert self.is_shut and "after shutdown" in str(error)
            return
        assert not self.is_shut
        expected = self.oracle.submit(compute, kind, self.open, number, [call.expected for call in needed])
        self.calls.append(Call(kind, needed, future, expected, gate))

    @precondition(lambda self: self.calls)
    @rule(index=st.integers(0, 30))
    def open_gate(self, index: int) -> None:
        self.calls[index % len(self.calls)].gate.set()

    @precondition(lambda self: self.calls)
    @rule(index=st.integers(0, 30))
    def cancel(self, index: int) -> None:
        call = self.calls[index % len(self.calls)]
        if call.future.cancel():
            call.was_cancelled = True
            assert call.future.cancelled() and call.future.cancel()
        else:
            assert not call.was_cancelled

    @precondition(lambda self: self.calls)
    @rule(index=st.integers(0, 30))
    def add_callback(self, index: int) -> None:
        call = self.calls[index % len(self.calls)]
        call.callbacks += 1
        call.future.add_done_callback(lambda future: call.called_back.append(future.done()))

    @precondition(lambda self: not self.is_shut)
    @rule()
    def wait_for_all(self) -> None:
        self.check()

    @rule(cancel_futures=st.booleans())
    def shutdown(self, cancel_futures: bool) -> None:
        self.ex.shutdown(wait=False, cancel_futures=cancel_futures)
        self.is_shut = True

    def check(self) -> None:
        for call in self.calls:
            call.gate.set()
        for call in self.calls:
            try:
                outcome: Any = call.future.result(LIMIT_S)
            except CancelledError:
                # Only what was not begun, and what needs it.
                assert call.was_cancelled or self.is_shut or any(each.future.cancelled() for each in call.inputs)
                continue
            except Exception as error:
                outcome = error
            assert not call.was_cancelled
            # Of inputs that fail and inputs that are cancelled the first one says what becomes of it.
            assert not any(each.future.cancelled() for each in call.inputs) or isinstance(outcome, ValueError)
            if isinstance(outcome, RuntimeError) and self.is_shut:
                continue  # a task may not submit any more, or needs the result of one that wanted to
            errors = call.errors()
            if errors:  # of several inputs the one that fails first, which is not always the same
                assert type(outcome) is ValueError and outcome.args[0] in errors
            else:
                assert outcome == call.expected.result()

    def teardown(self) -> None:
        try:
            self.check()
        finally:
            self.ex.shutdown()
            self.oracle.shutdown()
        for call in self.calls:
            assert call.called_back == [True] * call.callbacks


def test_threads_do_what_sync_does() -> None:
    run_state_machine_as_test(Histories, settings=settings(max_examples=60, stateful_step_count=25, deadline=None))
