"""What all messages are made of.

Covers: keys, payloads, the options of tasks, the base of all messages. Does not cover: any message.

Annotations are evaluated here: ``NamedTuple`` compiles those that are texts, which takes a millisecond of every start.
"""

from typing import Any, ClassVar, NamedTuple, Self

from futures_cluster import numbers

Payload = Any
Key = str
#: None, bool, int, float, str, bytes, or tuples and dicts of them; and items (``scheduler.shared.objects``).
PlainValue = Any

#: How a task ended, as told to the client.
FINISHED = "finished"
FAILED = "failed"
CANCELLED = "cancelled"


#: Amounts by name, in the order of the names: of resources or limits.
Amounts = tuple[tuple[str, float], ...]


class Reference:
    """A key that stands for a result which may live somewhere else."""

    key: Key


class TaskOptions(NamedTuple):
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
    backoff_s : float
        Seconds before the first repetition of a task that raised (``scheduler.backoff``).
    limits : tuple of (str, float)
        What the task takes, while it runs, of limits that the whole cluster shares.
    """

    priority: int = 0
    retries: int = 0
    timeout_s: float | None = None
    resources: Amounts = ()
    workers: tuple[str, ...] = ()
    rerun: bool = True
    backoff_s: float = 0.0
    limits: Amounts = ()

    @classmethod
    def from_wire(cls, values: Any) -> "TaskOptions":
        """Return the options that a peer says: the values in the order of the fields.

        Raises
        ------
        TypeError, ValueError
            If the values are no options, or out of range.
        """
        if values == _DEFAULT_WIRE:
            return DEFAULT_OPTIONS
        priority, retries, timeout_s, resources, workers, rerun, backoff_s, limits = values
        if not all(type(name) is str for name in workers):
            raise TypeError("the names of workers must be texts")
        return cls(
            numbers.whole("priority", priority, -numbers.MAX_PRIORITY, numbers.MAX_PRIORITY),
            numbers.whole("retries", retries, 0),
            numbers.limit_s("timeout", timeout_s),
            _amounts("resources", resources),
            tuple(workers),
            bool(rerun),
            numbers.amount("backoff", backoff_s, most=numbers.MAX_BACKOFF_S),
            _amounts("limits", limits),
        )


def _amounts(what: str, rows: Any) -> Amounts:
    pairs = [(name, numbers.amount(f"{what}[{name!r}]", amount)) for name, amount in rows]
    names = [name for name, _ in pairs]
    if not all(type(name) is str for name in names):
        raise TypeError(f"the names in {what} must be texts, got {numbers.shown(names)}")
    if len(set(names)) < len(names):
        raise ValueError(f"{what} has a name twice, got {numbers.shown(names)}")
    return tuple([pair for pair in pairs if pair[1]])  # 0 of something is no demand


def limits_complaint(asked: Amounts, declared: dict[str, float]) -> str:
    """Return why a task can never have the limits that it asks for; "" if it can."""
    for name, amount in asked:
        total = declared.get(name)
        if total is None:
            known = ", ".join(map(repr, declared)) or "none"
            return (
                f"a task asks for {amount:g} of the limit {name!r}, which is not declared (declared: {known}); make "
                f"the executor with limits={{{name!r}: ...}}, or start the scheduler with --limit {name}=..."
            )
        if amount > total:
            return (
                f"a task asks for {amount:g} of the limit {name!r}, which is {total:g}; ask for less, or declare a "
                "limit with another name"
            )
    return ""


DEFAULT_OPTIONS = TaskOptions()
_DEFAULT_WIRE = (0, 0, None, (), (), True, 0.0, ())
#: The options of scattered data, by which the scheduler knows it: to it that is a task which cannot run again.
SCATTERED_OPTIONS = TaskOptions(rerun=False)


def place_of(worker: str) -> str:
    """Return the part of a worker's name that its successors have as well.

    Examples
    --------
    >>> place_of("gpu-1"), place_of("gpu-1~2")
    ('gpu-1', 'gpu-1')
    """
    return worker.partition("~")[0]


#: The default of an argument in whose place each object gets an empty list or dict of its own.
FRESH: Any = None


class Record:
    """Base of plain objects: ``__slots__`` names the fields, in the order in which the constructor takes them.

    As a dataclass; but the constructors are written out, because those that ``dataclass`` compiles for each of some
    fifty classes take fifteen milliseconds of every start, and ``dataclasses`` itself another eight.
    """

    __slots__ = ()
    __hash__: ClassVar[None] = None  # type: ignore[assignment]  # fields may change

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in field_names(type(self)))

    def __repr__(self) -> str:
        values = [f"{name}={getattr(self, name)!r}" for name in field_names(type(self))]
        return f"{type(self).__name__}({', '.join(values)})"

    def replace(self, **changes: Any) -> Self:
        """Return a copy with changes.

        Parameters
        ----------
        **changes
            New values of fields.

        Returns
        -------
        Record
            A new one of the same class.
        """
        return type(self)(**{name: getattr(self, name) for name in field_names(type(self))} | changes)


class Message(Record):
    """Base of the events of machines, and of all that processes send.

    Each class that is sent has a ``code``.
    """

    __slots__ = ()
    code: ClassVar[int]


def field_names(kind: type[Record]) -> tuple[str, ...]:
    """Return the fields of a kind of message, in the order in which they travel."""
    return kind.__slots__


def field_types(kind: type[Message]) -> dict[str, str]:
    """Return the types of the fields, as they are written at the constructor."""
    return {name: kind.__init__.__annotations__[name] for name in field_names(kind)}
