"""What a task of a simulation does when it is executed."""

from __future__ import annotations

from dataclasses import dataclass

from futures_cluster.messages import Key


@dataclass(frozen=True, slots=True)
class Work:
    """What one execution of a task does.

    Attributes
    ----------
    duration_s : float
        How long it takes, not counting the time in which it waits for children.
    size_bytes : int
        The size of its result.
    fails : bool
        It raises in the end.
    kills : bool
        The worker dies in the end.
    closes : bool
        It closes the worker's connection in the end; the worker cannot say anything from then on.
    children : tuple of str
        Keys of tasks that it submits at its start, and waits for.
    """

    duration_s: float = 0.001
    size_bytes: int = 100
    fails: bool = False
    kills: bool = False
    closes: bool = False
    children: tuple[Key, ...] = ()
