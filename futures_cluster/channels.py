"""Channels, and the base classes of custom shared objects.

``SharedHandle`` is the base of handles; ``Channel`` and ``ChannelReader`` are the channel's. The states on the
scheduler are in ``scheduler.shared.objects`` and ``scheduler.shared.channel``; ``services.client.shared_objects`` waits
for answers.

A handle is a name and a way to send requests. All handles with the same kind and name, in any client or task, address
the same state. A handle can be an argument of a task, where it sends requests through the task's executor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from itertools import islice
from typing import Any, ClassVar, Self, TypeVar

from futures_cluster import context, numbers
from futures_cluster.scheduler.shared.objects import Item, Request, SharedState, register
from futures_cluster.services.client.shared_objects import Answer, SharedObjectClient, Undo, load_extension

__all__ = [
    "Answer",
    "Channel",
    "ChannelReader",
    "Item",
    "Request",
    "SharedHandle",
    "SharedState",
    "load_extension",
    "register",
]

T = TypeVar("T")

#: Items that a reader gets at a time, at most.
BATCH = 100
#: Items that ``Channel.extend`` hands over at a time.
MAX_PUT = 500


class SharedHandle:
    """Base class of handles of shared objects.

    Parameters
    ----------
    executor : Executor
        Executor of the cluster that has the object; in a task ``current_executor()``.
    name : str
        Name of the object.
    **options
        Plain values for ``on_open`` of the state.

    Attributes
    ----------
    kind : str
        The ``kind`` of the state class.
    name : str
        Name of the object.

    Raises
    ------
    TypeError
        If ``name`` is not a string.
    SharedObjectError
        If the state refuses to be opened.
    """

    kind: ClassVar[str] = ""

    def __init__(self, executor: Any, name: str, **options: Any) -> None:
        if not isinstance(name, str):
            raise TypeError(f"the name of a {self.kind} is a str, not {type(name).__name__}")
        self._bind(executor, name, options)
        self.ask("open", options)

    def _bind(self, executor: Any, name: str, options: dict[str, Any]) -> None:
        self.name = name
        self._executor = executor  # the workers live as long as the handle
        self._options = options
        self._port: SharedObjectClient = executor._engine.shared()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    def __reduce__(self) -> Any:
        return self._reopen, (self.name, self._options)

    @classmethod
    def _reopen(cls, name: str, options: dict[str, Any]) -> Self:
        """Return a handle on a worker, for one that arrives inside an argument."""
        handle = cls.__new__(cls)
        handle._bind(context.current_executor(), name, options)
        handle.tell("open", options)
        return handle

    # ---------------------------------------------------------------- for the kinds to use

    def ask(self, op: str, *args: Any, timeout: float | None = None, undo: Undo | None = None) -> Answer:
        """Call ``on_<op>(request, *args)`` of the state, and wait for its answer.

        Parameters
        ----------
        op : str
            Name of the operation.
        *args
            None, bool, int, float, str, bytes, lists, tuples and dicts of them, and items made by ``pack``.
        timeout : float or None
            Maximum time to wait in seconds.
        undo : callable or None
            Called with an answer that arrives after its caller has stopped waiting (Ctrl-C, a cancelled coroutine), if
            the answer grants something that must not be lost. It may ``tell``, but not ``ask``.

        Returns
        -------
        Answer
            The values that the state replied.

        Raises
        ------
        TimeoutError
            If no answer arrives in time.
        SharedObjectError
            If the state refuses.
        """
        return self._port.ask(self.kind, self.name, op, args, timeout, undo)

    async def ask_async(self, op: str, *args: Any, timeout: float | None = None, undo: Undo | None = None) -> Answer:
        """Ask in a coroutine, like ``ask``.

        Parameters
        ----------
        op, *args, timeout, undo
            As for ``ask``.

        Returns
        -------
        Answer
            The values that the state replied.

        Raises
        ------
        TimeoutError
            If no answer arrives in time.
        SharedObjectError
            If the state refuses.
        """
        return await self._port.ask_async(self.kind, self.name, op, args, timeout, undo)

    def tell(self, op: str, *args: Any) -> None:
        """Call ``on_<op>(request, *args)`` of the state, and ignore its answer.

        Parameters
        ----------
        op : str
            Name of the operation.
        *args
            As for ``ask``.
        """
        self._port.tell(self.kind, self.name, op, args)

    def pack(self, value: Any) -> Item:
        """Return an item of a future or a small value.

        Parameters
        ----------
        value : object
            A future, or a value, which may have futures in lists, tuples, dicts and sets.

        Returns
        -------
        Item
            An argument for ``ask`` and ``tell``.

        Raises
        ------
        ValueError
            If the value takes more than 32 KiB; the message advises to pass a future of it.
        """
        return self._port.pack(value)

    def delete(self) -> None:
        """Remove the object for all clients and tasks.

        Callers that wait for it get ``SharedObjectError``.
        """
        self.ask("delete")


class Channel(SharedHandle, Iterable[T], AsyncIterable[T]):
    """A named stream of futures and small values, as ``Executor.channel`` returns.

    Clients and tasks put items, and any number of them read, each from its own position. Iteration begins with the
    oldest item in the buffer and waits for more, until the channel is closed. While a future is in the buffer, its task
    goes on and its result stays, even if the client that put it is gone.

    A channel lives until ``delete``, or until the last program that has opened it leaves.

    Parameters
    ----------
    executor : Executor
        Executor of the cluster that has the channel.
    name : str
        Name of the channel.
    maxlen : int or None
        Maximum number of items in the buffer (10,000 by default).

    Raises
    ------
    TypeError, ValueError
        If ``maxlen`` is not a positive integer.
    SharedObjectError
        If the channel exists with another ``maxlen``.

    Examples
    --------
    >>> from futures_cluster import Executor
    >>> with Executor(backend="sync") as ex:
    ...     channel = ex.channel("newest", maxlen=2)
    ...     channel.extend(range(5))
    ...     channel.close()
    ...     list(channel)
    [3, 4]
    """

    kind = "channel"

    def __init__(self, executor: Any, name: str, maxlen: int | None = None) -> None:
        if maxlen is not None:
            maxlen = numbers.whole("maxlen", maxlen, 1, kind="a whole number or None")
        super().__init__(executor, name, maxlen=maxlen)

    def put(self, value: T) -> None:
        """Append a future, or a small value.

        Parameters
        ----------
        value : object
            A future, or a value, in which futures at any depth of lists, tuples, dicts and sets arrive as futures.

        Raises
        ------
        ChannelClosed
            If the channel is closed.
        ValueError
            If the value takes more than 32 KiB: put a future of it (``executor.scatter(value)``). Also if a future
            belongs to another executor, is released or cancelled.
        """
        self.ask("put", (self.pack(value),))

    def extend(self, values: Iterable[T]) -> None:
        """Append several values, with few messages.

        Parameters
        ----------
        values : iterable
            Futures and values, as for ``put``.

        Raises
        ------
        ChannelClosed, ValueError
            As ``put``. Values before the failed one may have been appended.
        """
        packed = map(self.pack, values)
        while batch := list(islice(packed, MAX_PUT)):
            self.ask("put", batch)

    def close(self) -> None:
        """Close the channel: refuse new items, and end readers after the last item."""
        self.ask("close")

    @property
    def closed(self) -> bool:
        """Whether the channel is closed."""
        return bool(self.ask("facts")[1])

    @property
    def maxlen(self) -> int:
        """Maximum number of items in the buffer."""
        return int(self.ask("facts")[2])

    def __len__(self) -> int:
        """Return the number of items in the buffer."""
        return int(self.ask("facts")[0])

    def __bool__(self) -> bool:
        return True

    def reader(self, timeout: float | None = None) -> ChannelReader[T]:
        """Return an iterator that begins with the oldest item.

        Parameters
        ----------
        timeout : float or None
            Maximum time in seconds to wait for each next item. After a ``TimeoutError`` the reader may go on.

        Returns
        -------
        ChannelReader
            An iterator, also for ``async for``.
        """
        return ChannelReader(self, timeout)

    def __iter__(self) -> ChannelReader[T]:
        return ChannelReader(self)

    def __aiter__(self) -> ChannelReader[T]:
        return ChannelReader(self)


class ChannelReader(Iterator[T], AsyncIterator[T]):
    """Read a channel from its own position, in one thread or coroutine at a time.

    Parameters
    ----------
    channel : Channel
        Channel to read.
    timeout : float or None
        Maximum time in seconds to wait for each next item.

    Attributes
    ----------
    missed : int
        Number of items that dropped out of the buffer before this reader came to them.
    timeout : float or None
        Maximum time in seconds to wait for each next item.

    Raises
    ------
    TimeoutError
        While iterating, if no item arrives in time. The reader may go on afterwards.
    SharedObjectError
        While iterating, if the channel is deleted.
    """

    def __init__(self, channel: Channel[T], timeout: float | None = None) -> None:
        self.channel = channel
        self.timeout: float | None = numbers.wait_s("timeout", timeout)
        self.missed: int = 0
        self._serial = 0  # of the channel, once something has been read
        self._position = 0
        self._ended = False
        self._batch: deque[Answer] = deque()

    def __iter__(self) -> Self:
        return self

    def __aiter__(self) -> Self:
        return self

    def __next__(self) -> T:
        if not self._batch and not self._ended:
            self._take(self.channel.ask(*self._question, timeout=self.timeout))
        if not self._batch:
            raise StopIteration
        return self._load_next()

    async def __anext__(self) -> T:
        if not self._batch and not self._ended:
            self._take(await self.channel.ask_async(*self._question, timeout=self.timeout))
        if not self._batch:
            raise StopAsyncIteration
        return self._load_next()

    @property
    def _question(self) -> tuple[str, int, int, int]:
        return "next", self._serial, self._position, BATCH

    def _take(self, answer: Answer) -> None:
        serial, start, self._ended, items = answer.values
        if self._serial:
            self.missed += start - self._position
        self._serial, self._position = serial, start + len(items)
        self._batch.extend(answer.part(item) for item in items)

    def _load_next(self) -> T:
        part = self._batch.popleft()
        item: T = part.load(part[0])
        return item
