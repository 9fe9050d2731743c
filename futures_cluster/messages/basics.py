"""What all messages are made of.

Covers: keys, payloads, the options of tasks, the base of all messages. Does not cover: any message.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeVar, dataclass_transform

from futures_cluster import numbers

Payload = Any
Key = str
PlainValue = Any  # None, bool, int, float, str, bytes, or tuples and dicts of them; and items (``scheduler.shared``)

#: How a task ended, as told to the client.
FINISHED = "finished"
FAILED = "failed"
CANCELLED = "cancelled"


class Reference:
    """A key that stands for a result which may live somewhere else."""

    key: Key


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """What ``Executor.with_options`` can say of a task.

    Attributes
    ----------
    priority : int
        Higher runs first.
    retries : int
        How often a task that raised is run again.
    timeout_s : float or None
        Seconds from the start of one execution after which it is stopped.
    resources : tuple of (str, float)
        What the task takes, of what workers offer, while it runs.
    workers : tuple of str
        Names of the workers which may run it; empty for all.
    rerun : bool
        Whether the task may run again after the death of a worker that was executing it.
    """

    priority: int = 0
    retries: int = 0
    timeout_s: float | None = None
    resources: tuple[tuple[str, float], ...] = ()
    workers: tuple[str, ...] = ()
    rerun: bool = True

    def to_wire(self) -> list[Any]:
        """Plain values, in the order of the fields."""
        return [
            self.priority,
            self.retries,
            self.timeout_s,
            list(self.resources),
            list(self.workers),
            self.rerun,
        ]

    @classmethod
    def from_wire(cls, values: Any) -> TaskOptions:
        """Return the inverse of ``to_wire``, of what a peer says.

        Raises
        ------
        TypeError, ValueError
            If the values are no options, or out of range.
        """
        if values == _DEFAULT_WIRE:
            return DEFAULT_OPTIONS
        priority, retries, timeout_s, resources, workers, rerun = values
        pairs = [(name, numbers.amount(f"resources[{name!r}]", amount)) for name, amount in resources]
        names = [name for name, _ in pairs]
        if not all(type(name) is str for name in (*names, *workers)):
            raise TypeError("the names of resources and workers must be texts")
        if len(set(names)) < len(names):
            raise ValueError(f"a resource is named twice, got {numbers.shown(names)}")
        return cls(
            numbers.whole("priority", priority, -numbers.MOST_PRIORITY, numbers.MOST_PRIORITY),
            numbers.whole("retries", retries, 0),
            numbers.limit_s("timeout", timeout_s),
            tuple([pair for pair in pairs if pair[1]]),  # 0 of something is no demand
            tuple(workers),
            bool(rerun),
        )


DEFAULT_OPTIONS = TaskOptions()
_DEFAULT_WIRE = (0, 0, None, (), (), True)
#: The options of scattered data, by which the scheduler knows it: to it that is a task which cannot run again.
SCATTERED_OPTIONS = TaskOptions(rerun=False)


def place_of(worker: str) -> str:
    """Return the part of a worker's name that it shares with those whose place it takes.

    Examples
    --------
    >>> place_of("gpu-1"), place_of("gpu-1~2")
    ('gpu-1', 'gpu-1')
    """
    return worker.partition("~")[0]


class Message:
    """Base of everything in the vocabulary; see ``message``."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]  # fields may change

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in field_names(type(self)))

    def __repr__(self) -> str:
        values = [f"{name}={getattr(self, name)!r}" for name in field_names(type(self))]
        return f"{type(self).__name__}({', '.join(values)})"


def field_names(kind: type[Message]) -> tuple[str, ...]:
    """The fields of a kind of message, in the order in which they travel."""
    return tuple(f.name for f in fields(kind))  # type: ignore[arg-type]


_Kind = TypeVar("_Kind", bound=type[Message])


@dataclass_transform()
def message(kind: _Kind) -> _Kind:
    """Makes a class of fields a kind of message.

    As ``dataclass`` does; but what all have in common ``Message`` has: methods that are compiled for each of some
    fifty classes take ten milliseconds of every start.
    """
    return dataclass(slots=True, eq=False, repr=False, match_args=False)(kind)  # type: ignore[return-value]
