"""A call on its way through the engine for threads: ``WorkItem``.

``engine`` makes one for each ``submit``. A thread (``slots``) takes it from the queue (``ready``) and calls its
function, and then it delivers the outcome to its future. To the task itself it is the context
(``context.current_task``).

Does not cover: calls of a graph (``graphs``).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from futures_cluster import context, errors, locks
from futures_cluster.messages import Amounts, Key, TaskOptions
from futures_cluster.wire.codec import arguments

if TYPE_CHECKING:
    from futures_cluster.engines.inprocess.host import Host


#: Of names in ``WorkItem.resources``: here a limit is a resource, too. No name that users give begins like this.
LIMIT_PREFIX = "\0"


class WorkItem(context.TaskContext):
    """A call, from ``submit`` until its outcome is delivered.

    Attributes
    ----------
    number : int
        Number of the call among those of its engine, in the order of submission.
    special : bool
        Whether the engine has to do more than calling the function and delivering the value.
    paused_until_s : float
        Time of the next attempt, by ``clocks.monotonic``.
    resources : tuple
        Amounts of resources, and of limits by names with ``LIMIT_PREFIX``.
    parent : TaskContext or None
        The task that has submitted the call.
    futures : list or None
        The futures among the arguments, until their values take their places.
    containers : set of int or None
        Ids of the containers with these futures (``arguments.Found.inside``).
    slot : int
        Number of the thread that executes it, while ``instrumentation`` is on.
    """

    host: Host
    special = False
    retries_left = 0
    backoff_s = 0.0
    paused_until_s = 0.0
    timeout_s: float | None = None
    resources: Amounts = ()
    parent: context.TaskContext | None = None
    futures: list[Any] | None = None
    containers: set[int] | None = None
    slot = 0

    def __init__(
        self,
        engine: Host,
        number: int,
        future: Any,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        # Not the base's __init__: it sets attributes for which a plain call takes the defaults of the class.
        self.host = engine
        self.number = number
        self.future = future
        self.fn = fn
        self.args = args
        self.kwargs = kwargs

    @property
    def key(self) -> Key:  # type: ignore[override]
        """The key of the task, made when it is asked for."""
        key: Key = self.future.key
        return key

    @property
    def function(self) -> str:
        """The name of its function."""
        name: str = self.future._function_name
        return name.rpartition("<locals>.")[2]

    @property
    def order(self) -> tuple[int, int, int]:
        """The sort key of the queue: the smallest runs first."""
        return -self.priority, -self.depth, self.number

    def apply_options(self, options: TaskOptions) -> None:
        """Run with these options."""
        self.special = True
        self.priority, self.retries_left = options.priority, options.retries
        self.timeout_s, self.resources = options.timeout_s, options.resources
        if options.limits:
            self.resources += tuple([(LIMIT_PREFIX + name, amount) for name, amount in options.limits])
        self.backoff_s = options.backoff_s

    def on_inputs_done(self) -> None:
        """Go on, now that the futures among the arguments are done."""
        self.host.enqueue(self)

    def unfinished_inputs(self) -> list[Any]:
        """Return the futures among the arguments that are not done."""
        return [future for future in self.futures or () if not future.done()]

    def shared_inputs(self) -> list[tuple[Key, Any]]:
        """Return keys and values of results that other tasks may get, too."""
        return [(future.key, future._result) for future in self.futures or () if not future._scattered]

    def mark_running(self) -> None:
        """Set the state of its future when a thread has taken it."""
        self.future._state = "RUNNING"

    def mark_pending(self) -> None:
        """Set the state of its future back before a retry: it can be cancelled."""
        future = self.future
        if future is not None and future._state == "RUNNING":
            future._state = "PENDING"

    def resolve_inputs(self) -> None:
        """Put the values of futures in their places among the arguments.

        Raises
        ------
        DeserializationError
            If a value cannot be there, such as a list in a set.
        """
        futures, containers = self.futures, self.containers
        if futures is None or containers is None:
            return
        self.args, self.kwargs = with_values(self.args, self.kwargs, futures, containers, self.future)
        self.futures = self.containers = None

    def deliver_value(self, value: Any) -> None:
        """Deliver what the function has returned."""
        self.future._deliver_value(value)

    def deliver_failure(self, error: BaseException) -> None:
        """Deliver what the function has raised."""
        self.future._deliver_failure(error)

    def deliver_cancelled(self) -> None:
        """Cancel its future, because one of its inputs was cancelled."""
        self.future._deliver_cancelled()

    def withdraw(self) -> bool:
        """Drop the call of a future that is cancelled or gone; False if it has begun."""
        return self.host.take_out(self)

    def forget_call(self) -> None:
        """Drop the function and its arguments, which keep the user's objects alive."""
        self.fn, self.args, self.kwargs, self.futures = _nothing, (), {}, None


def with_values(
    args: tuple[Any, ...], kwargs: dict[str, Any], futures: list[Any], containers: set[int], future: Any
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return arguments with the values of futures in their places.

    Raises
    ------
    DeserializationError
        If a value cannot be there, such as a list in a set.
    """
    values = {id(other): other._result for other in futures}
    try:
        return arguments.replace(args, kwargs, containers, lambda other: values.get(id(other), other))
    except Exception as error:
        text = f"the arguments of {future.key} could not be put together: {error!r}"
        raise errors.DeserializationError(text) from error


def _nothing() -> None:
    """Do nothing, in the place of a function that was dropped."""


class InputWaiter:
    """Waits for the inputs of one call, by the protocol of ``concurrent.futures`` for waiters.

    ``engine.wait_for`` registers it with ``count`` futures that are not done; each calls one of its methods.
    """

    __slots__ = ("_engine", "_lock", "_pending", "_work")

    def __init__(self, engine: Host, work: WorkItem, count: int) -> None:
        self._engine = engine
        self._work = work
        self._pending = count
        self._lock = locks.Lock()

    def add_result(self, future: Any) -> None:
        """Count one input less to wait for; let the call go on after the last."""
        with self._lock:
            self._pending -= 1
            if self._pending:
                return
        self._work.on_inputs_done()

    def add_exception(self, future: Any) -> None:
        """Fail the call with the error of its input."""
        trampoline(lambda: self._engine.fail(self._work, future._copy_error()))

    def add_cancelled(self, future: Any) -> None:
        """Cancel the call with its input."""
        trampoline(lambda: self._engine.cancel(self._work))


class _Local(threading.local):
    pending: deque[Callable[[], None]] | None = None  # functions that ``trampoline`` calls later in this thread


_local = _Local()


def trampoline(function: Callable[[], None]) -> None:
    """Call a function now, or after the one that this thread is calling here.

    A task that fails or is cancelled ends its dependents, which end theirs: a chain of thousands would overflow the
    stack.
    """
    if _local.pending is not None:
        _local.pending.append(function)
        return
    pending = _local.pending = deque([function])
    try:
        while pending:
            pending.popleft()()
    finally:
        _local.pending = None
