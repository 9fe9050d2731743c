"""Channels, and what one's own shared objects are made with.

Covers: the base of handles (``SharedHandle``), the channel's handle and its readers. Does not cover: the states on the
scheduler (``scheduler.shared``, ``scheduler.channel``), waiting for answers (``services.shared``).

A handle is a name and a way to ask. All handles with the same kind and name, in whatever client or task, ask the same
state. A handle can be an argument of a task, where it asks as the task's executor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, ClassVar, Self

from futures_cluster import context, numbers
from futures_cluster.scheduler.shared import Item, Request, SharedState, register
from futures_cluster.services.shared import Answer, Undo, load_extension

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

#: Items that a reader gets at a time, at most.
BATCH = 100
#: Items that ``Channel.extend`` hands over at a time.
MOST_PUT = 500


class SharedHandle:
    """The base of handles of shared objects.

    Parameters
    ----------
    executor : Executor
        Of the cluster where the object is; in a task ``current_executor()``.
    name : str
        Of the object.
    options : dict
        Handed to ``on_open`` of the state; plain values.

    Attributes
    ----------
    kind : str
        The ``kind`` of the state class.
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
        self._port = executor.shared_port()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    def __reduce__(self) -> Any:
        return _reopen, (type(self), self.name, self._options)

    @classmethod
    def _reopen(cls, executor: Any, name: str, options: dict[str, Any]) -> Self:
        handle = cls.__new__(cls)
        handle._bind(executor, name, options)
        handle.tell("open", options)
        return handle

    # ---------------------------------------------------------------- for the kinds to use

    def ask(self, op: str, *args: Any, timeout: float | None = None, undo: Undo | None = None) -> Answer:
        """Call ``on_<op>(request, *args)`` of the state, and wait for its answer.

        Parameters
        ----------
        args
            None, bool, int, float, str, bytes, lists, tuples and dicts of them, and what ``pack`` made.
        timeout : float or None
            Seconds to wait at most.
        undo : callable or None
            Called with an answer that came when nobody could wait for it any more (Ctrl-C, a cancelled coroutine),
            if it gave something that must not be lost. It may ``tell``, but not ``ask``.

        Raises
        ------
        TimeoutError
            When there is no answer in time.
        SharedObjectError
            When the state refuses.
        """
        return self._port.ask(self.kind, self.name, op, args, timeout, undo)  # type: ignore[no-any-return]

    async def ask_async(self, op: str, *args: Any, timeout: float | None = None, undo: Undo | None = None) -> Answer:
        """As ``ask``, in a coroutine."""
        return await self._port.ask_async(  # type: ignore[no-any-return]
            self.kind, self.name, op, args, timeout, undo
        )

    def tell(self, op: str, *args: Any) -> None:
        """Call ``on_<op>(request, *args)`` of the state, without waiting for an answer; errors are not told."""
        self._port.tell(self.kind, self.name, op, args)

    def pack(self, value: Any) -> Item:
        """An item of a future, or of a small value that may have futures in lists, tuples, dicts and sets.

        Raises
        ------
        ValueError
            For a value of more than 32 KiB, with the advice to take a future of it.
        """
        return self._port.pack(value)  # type: ignore[no-any-return]

    def delete(self) -> None:
        """Remove the object for everybody; who waits for it gets ``SharedObjectError``."""
        self.ask("delete")


def _reopen(cls: type[SharedHandle], name: str, options: dict[str, Any]) -> SharedHandle:
    """A handle that arrives inside an argument, on a worker."""
    return cls._reopen(context.current_executor(), name, options)


class Channel(SharedHandle):
    """A stream of futures and small values; made by ``Executor.channel``.

    Clients and tasks put, and any number of them read, each from its own position. Iterating begins with the oldest
    item in the buffer and waits for more, until the channel is closed. The tasks whose futures are in the buffer go
    on, and their results stay, also when whoever has put them is gone.

    A channel lives until ``delete``, or until the last program that has opened it leaves.
    """

    kind = "channel"

    def __init__(self, executor: Any, name: str, maxlen: int | None = None) -> None:
        if maxlen is not None:
            maxlen = numbers.whole("maxlen", maxlen, 1, kind="a whole number or None")
        super().__init__(executor, name, maxlen=maxlen)

    def put(self, value: Any) -> None:
        """Append a future, or a small value.

        Futures at any depth of lists, tuples, dicts and sets are futures for the readers, too.

        Raises
        ------
        ChannelClosed
            When the channel is closed.
        ValueError
            For a value of more than 32 KiB: put a future of it (``executor.scatter(value)``). For a future that
            belongs to another executor, is released or cancelled.
        """
        self.ask("put", (self.pack(value),))

    def extend(self, values: Iterable[Any]) -> None:
        """Append many, with few messages."""
        batch = []
        for value in values:
            batch.append(self.pack(value))
            if len(batch) >= MOST_PUT:
                self.ask("put", batch)
                batch = []
        if batch:
            self.ask("put", batch)

    def close(self) -> None:
        """Take nothing more; readers come to the end after the last item."""
        self.ask("close")

    @property
    def closed(self) -> bool:
        """Whether the channel is closed."""
        return bool(self.ask("facts")[1])

    @property
    def maxlen(self) -> int:
        """The most items in the buffer."""
        return int(self.ask("facts")[2])

    def __len__(self) -> int:
        """How many items are in the buffer now."""
        return int(self.ask("facts")[0])

    def __bool__(self) -> bool:
        return True

    def reader(self, timeout: float | None = None) -> ChannelReader:
        """An iterator from the oldest item on.

        Parameters
        ----------
        timeout : float or None
            Seconds to wait at most for each next item; then ``TimeoutError``, after which the reader may go on.
        """
        return ChannelReader(self, timeout)

    def __iter__(self) -> ChannelReader:
        return ChannelReader(self)

    def __aiter__(self) -> AsyncIterator[Any]:
        return ChannelReader(self)


class ChannelReader(Iterator[Any], AsyncIterator[Any]):
    """Reads a channel from its own position, in one thread or one coroutine at a time.

    Attributes
    ----------
    missed : int
        Items that dropped out of the buffer before this reader came to them.
    timeout : float or None
        Seconds to wait at most for each next item.
    """

    def __init__(self, channel: Channel, timeout: float | None = None) -> None:
        self.channel = channel
        self.timeout = numbers.wait_s("timeout", timeout)
        self.missed = 0
        self._serial = 0  # of the channel, once something has been read
        self._position = 0
        self._ended = False
        self._batch: deque[Answer] = deque()

    def __iter__(self) -> ChannelReader:
        return self

    def __aiter__(self) -> ChannelReader:
        return self

    def __next__(self) -> Any:
        if not self._batch:
            if not self._ended:
                self._take(self.channel.ask("next", self._serial, self._position, BATCH, timeout=self.timeout))
            if not self._batch:
                raise StopIteration
        return self._load_next()

    async def __anext__(self) -> Any:
        if not self._batch:
            if not self._ended:
                ask = self.channel.ask_async
                self._take(await ask("next", self._serial, self._position, BATCH, timeout=self.timeout))
            if not self._batch:
                raise StopAsyncIteration
        return self._load_next()

    def _take(self, answer: Answer) -> None:
        serial, start, self._ended, items = answer.values
        if self._serial:
            self.missed += start - self._position
        self._serial, self._position = serial, start + len(items)
        self._batch.extend(answer.part(item) for item in items)

    def _load_next(self) -> Any:
        part = self._batch.popleft()
        return part.load(part[0])
