"""Work: one call on its way through the engine, which is also what its task knows of itself.

Covers: the call, its options, how its outcome gets to its future, the futures among its arguments. Does not cover:
threads (``slots``), the order of calls (``ready``), graphs (``graphs``).
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


#: Threads share their resources, so that a limit is one more resource; no name of a resource begins like this.
LIMIT_PREFIX = "\0"


class WorkItem(context.TaskContext):
    """A call, until it has ended.

    Attributes
    ----------
    number : int
        Of its engine, in the order of submission.
    special : bool
        Whether anything but calling the function and delivering the value has to be done.
    """

    host: Host
    special = False
    retries_left = 0
    backoff_s = 0.0
    rests_until_s = 0.0  # on the clock of ``clocks.monotonic``: between two tries
    timeout_s: float | None = None
    resources: Amounts = ()  # and limits, by names with LIMIT_PREFIX
    parent: context.TaskContext | None = None
    inside: set[int] | None = None  # ids of the containers with futures to replace (``arguments.find``)
    given: list[Any] | None = None  # the futures to replace
    slot = 0  # the number of the thread that executes it, while ``watching`` is on

    def __init__(
        self,
        engine: Host,
        number: int,
        future: Any,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        # Not the base's __init__: what it sets is the class's as long as nothing special happens.
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
        """The name of what it calls."""
        name: str = self.future._function_name
        return name.rpartition("<locals>.")[2]

    @property
    def order(self) -> tuple[int, int, int]:
        """Of two works the one with the smaller order runs first."""
        return -self.priority, -self.depth, self.number

    def take_options(self, options: TaskOptions) -> None:
        """Run as these options say."""
        self.special = True
        self.priority, self.retries_left = options.priority, options.retries
        self.timeout_s, self.resources = options.timeout_s, options.resources
        if options.limits:
            self.resources += tuple([(LIMIT_PREFIX + name, amount) for name, amount in options.limits])
        self.backoff_s = options.backoff_s

    def has_futures(self) -> None:
        """Take note that the futures that it waits for are done."""
        self.host.is_ready(self)

    def waits_for(self) -> list[Any]:
        """Return the futures that it needs, and that are not done."""
        return [future for future in self.given or () if not future.done()]

    def inputs(self) -> list[tuple[Key, Any]]:
        """Return the values that it shares with others, with their keys."""
        return [(future.key, future._result) for future in self.given or () if not future._scattered]

    def begins(self) -> None:
        """Take note that a thread executes it from now on."""
        self.future._state = "RUNNING"

    def is_queued_again(self) -> None:
        """Note that the work has raised, and is to be tried again.

        Until then it can be cancelled.
        """
        future = self.future
        if future is not None and future._state == "RUNNING":
            future._state = "PENDING"

    def put_in_values(self) -> None:
        """Put the values of futures in their places among the arguments.

        Raises
        ------
        DeserializationError
            If they cannot be there.
        """
        inside, given = self.inside, self.given
        if inside is None or given is None:
            return
        values = {id(future): future._result for future in given}
        try:
            self.args, self.kwargs = arguments.replace(
                self.args, self.kwargs, inside, lambda future: values.get(id(future), future)
            )
        except Exception as error:
            failed = errors.DeserializationError(f"the arguments of {self.key} could not be put together: {error!r}")
            failed.__cause__ = error
            raise failed from error
        self.inside = self.given = None

    def returned(self, value: Any) -> None:
        """Deliver what the function has returned."""
        self.future._deliver_value(value)

    def raised(self, error: BaseException) -> None:
        """Deliver what the function has raised."""
        self.future._deliver_failure(error)

    def cancelled(self) -> None:
        """Deliver that something it needs was cancelled."""
        self.future._deliver_cancelled()

    def forget_call(self) -> None:
        """Let go of the function and its arguments, which will not be called."""
        self.fn, self.args, self.kwargs, self.given = _nothing, (), {}, None


def _nothing() -> None:
    """Do nothing, in the place of a function that was forgotten."""


class Needs:
    """What the futures tell that a work waits for: by the standard library's protocol of waiters."""

    __slots__ = ("_engine", "_left", "_lock", "_work")

    def __init__(self, engine: Host, work: WorkItem, number: int) -> None:
        self._engine = engine
        self._work = work
        self._left = number
        self._lock = locks.Lock()

    def add_result(self, future: Any) -> None:
        """Count one less to wait for."""
        with self._lock:
            self._left -= 1
            if self._left:
                return
        self._work.has_futures()

    def add_exception(self, future: Any) -> None:
        """Fail the work with the error of what it needs."""
        one_by_one(lambda: self._engine.fail(self._work, future._copy_error()))

    def add_cancelled(self, future: Any) -> None:
        """Cancel the work with what it needs."""
        one_by_one(lambda: self._engine.cancel(self._work))


class _Local(threading.local):
    todo: deque[Callable[[], None]] | None = None


_local = _Local()


def one_by_one(function: Callable[[], None]) -> None:
    """Call a function; if this thread is inside of another such call, after that.

    A task that fails takes others along, these take others: no stack could hold a chain of thousands.
    """
    if _local.todo is not None:
        _local.todo.append(function)
        return
    todo = _local.todo = deque([function])
    try:
        while todo:
            todo.popleft()()
    finally:
        _local.todo = None
