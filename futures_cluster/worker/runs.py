"""A worker's executions: one record for each attempt at a task.

Covers: the record and its states. Does not cover: the data it needs or makes (``replicas``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from futures_cluster.messages import Key, Payload
from futures_cluster.messages.rows import FunctionId, InputRow, Priority

RunStateName = Literal["fetching", "ready", "executing", "ended", "returned"]

FETCHING: RunStateName = "fetching"  # inputs are on their way
READY: RunStateName = "ready"  # could start, no slot is free
EXECUTING: RunStateName = "executing"
ENDED: RunStateName = "ended"
RETURNED: RunStateName = "returned"  # given back to the scheduler without having started

#: state -> states that may follow
TRANSITIONS: dict[RunStateName, tuple[RunStateName, ...]] = {
    FETCHING: (READY, RETURNED),
    READY: (EXECUTING, RETURNED),
    EXECUTING: (ENDED,),
    ENDED: (),
    RETURNED: (),
}


class Run:
    """One attempt at a task.

    Attributes
    ----------
    inputs : sequence of InputRow
        Those without payload are replicas.
    priority : tuple of int
        Smaller ones run first: the priority of the task, its level of nesting (both negative), and its serial number.
    missing : int
        How many of the inputs are on their way.
    waits : bool
        It waits for other tasks, and its slot is lent to another run.
    """

    __slots__ = (
        "attempt",
        "flags",
        "function",
        "inputs",
        "key",
        "missing",
        "payload",
        "priority",
        "state",
        "waits",
    )

    def __init__(
        self,
        key: Key,
        attempt: int,
        function: FunctionId,
        payload: Payload,
        priority: Priority,
        inputs: Sequence[InputRow],
        flags: int,
    ) -> None:
        self.key = key
        self.attempt = attempt
        self.function = function
        self.payload = payload
        self.priority = priority
        self.inputs = inputs
        self.flags = flags
        self.missing = 0
        self.state: RunStateName = READY
        self.waits = False

    def __repr__(self) -> str:
        return f"<Run {self.key} #{self.attempt} {self.state}>"
