"""The client's side of shared objects: questions to the scheduler, and waiting for their answers.

Covers: sending requests and waiting for answers, in threads and in coroutines, with time limits; packing what users
put into shared objects; the futures in what comes out; shared objects without a scheduler, for the sync engine.
Does not cover: the states (``scheduler.shared.objects``), the handles that users see (``channels``).

A time limit is the client's: it withdraws the question when the time is over, and waits for the scheduler's last
word. That is "withdrawn", or an answer that was on its way; so nothing that was given away is ever lost by it. Where
the caller cannot wait for that word (Ctrl-C, a cancelled coroutine), ``undo`` gets an answer that comes too late.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol

from futures_cluster import clocks, context, errors, locks, numbers
from futures_cluster import messages as m
from futures_cluster.messages import Key
from futures_cluster.scheduler.shared import channel as channel  # registers itself
from futures_cluster.scheduler.shared import objects as shared
from futures_cluster.scheduler.shared.objects import WITHDRAWN, Item, SharedObjects, SharedState, plain_value
from futures_cluster.services.common import plugin_runner
from futures_cluster.services.common.protocols import ItemCodec
from futures_cluster.wire.codec import arguments
from futures_cluster.wire.codec.exception_state import copied
from futures_cluster.wire.codec.object_codec import Call

#: Most answers come sooner than this; a task that waits longer gives its slot back, which costs messages of its own.
SOON_S = 0.005


class FutureSource(Protocol):
    """What makes futures of keys: ``services.client.client.Client``, and what stands for it in the sync engine."""

    name: str
    forked: bool

    @property
    def codec(self) -> ItemCodec: ...
    def futures_of_keys(self, keys: list[Key]) -> dict[Key, Any]: ...
    def share(self, future: Any) -> None: ...
    def send(self, message: m.Message) -> None: ...
    def about_to_wait(self) -> None: ...


Undo = Callable[["Answer"], None]


class Answer:
    """The answer of a shared object: its values, in order.

    ``load`` turns an item among them into the value that its caller put in, with futures of this client.

    Attributes
    ----------
    values : tuple
        Plain values and items.
    """

    __slots__ = ("_codec", "_futures", "values")

    def __init__(self, values: Any, futures: dict[Key, Any], codec: ItemCodec) -> None:
        self.values: tuple[Any, ...] = tuple(values)
        self._futures = futures
        self._codec = codec

    def __getitem__(self, index: int) -> Any:
        return self.values[index]

    def load(self, item: Any) -> Any:
        """Unpickle the value of an item.

        Parameters
        ----------
        item : object
            One of the values.

        Returns
        -------
        object
            The value that a caller put in, with futures of this client.
        """
        payload, _, keys = item
        args, _ = self._codec.load_call(payload, [self._futures[key] for key in keys])
        return args[0]

    def part(self, item: Any) -> Answer:
        """Return an answer of one item alone, which keeps no other futures.

        Parameters
        ----------
        item : object
            One of the values.

        Returns
        -------
        Answer
            An answer with this one value.
        """
        return Answer((item,), {key: self._futures[key] for key in item[2]}, self._codec)


class _Question:
    """Something asked that is not answered yet.

    ``undo`` counts once no caller waits (``is_abandoned``).
    """

    __slots__ = ("answer", "error", "event", "is_abandoned", "loops", "text", "undo")

    def __init__(self, text: str, undo: Undo | None) -> None:
        self.text = text
        self.undo = undo
        self.event = threading.Event()
        self.loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self.answer: Answer | None = None
        self.error: Any = None
        self.is_abandoned = False

    def end(self, answer: Answer | None, error: Any) -> None:
        """Wake the threads and coroutines that wait."""
        self.answer, self.error = answer, error
        self.event.set()
        for loop, event in self.loops:
            with contextlib.suppress(RuntimeError):  # that loop has ended
                loop.call_soon_threadsafe(event.set)


class SharedObjectClient:
    """Where a client's handles of shared objects ask.

    Parameters
    ----------
    client : FutureSource
        Sends messages and makes futures.
    """

    def __init__(self, client: FutureSource) -> None:
        self._client = client
        self._numbers = itertools.count(1)
        self._questions: dict[int, _Question] = {}
        self._lock = locks.Lock()  # an answer comes, or no thread waits for it now: one of them is first
        self._closed: BaseException | None = None

    @property
    def waiting(self) -> int:
        """How many questions are not answered yet."""
        return len(self._questions)

    def oldest_wait(self) -> str | None:
        """Return the question that was asked first of those without an answer."""
        number = next(iter(self._questions), None)
        return None if number is None else f"request {number}"

    # ---------------------------------------------------------------- users' threads

    def tell(self, kind: str, name: str, op: str, args: tuple[Any, ...]) -> None:
        """Say something, without any answer; also where nothing may wait."""
        self._check()
        self._client.send(m.AskShared(self._client.name, 0, kind, name, op, _plain(args)))

    def ask(
        self,
        kind: str,
        name: str,
        op: str,
        args: tuple[Any, ...],
        timeout: float | None = None,
        undo: Undo | None = None,
    ) -> Answer:
        """Ask, and wait for the answer; the slot of a task is free meanwhile.

        Raises
        ------
        TimeoutError
            When there is no answer in time; then nothing was given.
        SharedObjectError
            When the object refuses.
        """
        timeout = numbers.wait_s("timeout", timeout)
        end = None if timeout is None else clocks.monotonic() + timeout
        number, question = self._begin(kind, name, op, args, undo)
        event = question.event
        try:
            if not event.is_set():
                self._client.about_to_wait()
                if not event.wait(SOON_S if timeout is None else min(SOON_S, timeout)):
                    with context.waiting():
                        left = None if end is None else max(0.0, end - clocks.monotonic())
                        if not event.wait(left):
                            self._withdraw(number)
                            event.wait()
        except BaseException:
            self._abandon(number, question)
            raise
        return self._end(question)

    async def ask_async(
        self,
        kind: str,
        name: str,
        op: str,
        args: tuple[Any, ...],
        timeout: float | None = None,
        undo: Undo | None = None,
    ) -> Answer:
        """Ask as ``ask`` does, in a coroutine."""
        timeout = numbers.wait_s("timeout", timeout)
        number, question = self._begin(kind, name, op, args, undo)
        event = asyncio.Event()
        question.loops.append((asyncio.get_running_loop(), event))
        try:
            if not question.event.is_set():  # looked at after registering, so nothing is missed
                self._client.about_to_wait()
                with context.waiting():
                    try:
                        async with asyncio.timeout(timeout):
                            await event.wait()
                    except TimeoutError:
                        self._withdraw(number)
                        await event.wait()
        except BaseException:
            self._abandon(number, question)
            raise
        return self._end(question)

    def _check(self) -> None:
        if self._closed is not None:
            raise copied(self._closed)
        if self._client.forked:
            raise errors.ForkedExecutor(
                "this executor belongs to the parent of this process; a forked process makes its own Executor()"
            )

    def _begin(self, kind: str, name: str, op: str, args: tuple[Any, ...], undo: Undo | None) -> tuple[int, _Question]:
        self._check()
        message = m.AskShared(self._client.name, next(self._numbers), kind, name, op, _plain(args))
        question = _Question(f"{op} of the {kind} {name!r}", undo)
        self._questions[message.request] = question
        self._client.send(message)
        if self._closed is not None:  # it was closed while this was under way
            self._questions.pop(message.request, None)
            raise copied(self._closed)
        return message.request, question

    def _withdraw(self, number: int) -> None:
        self._client.send(m.WithdrawShared(self._client.name, number))

    def _abandon(self, number: int, question: _Question) -> None:
        """Leave the answer to ``undo``, as no caller waits for it."""
        with self._lock:
            question.is_abandoned = True
            answered = number not in self._questions
        if not answered:
            self._withdraw(number)
            return
        question.event.wait()  # it is being delivered
        if question.answer is not None and question.undo is not None:
            question.undo(question.answer)

    def _end(self, question: _Question) -> Answer:
        error = question.error
        if error is None:
            assert question.answer is not None
            return question.answer
        if isinstance(error, BaseException):
            raise error
        if type(error) is dict and error.get("kind") == WITHDRAWN:
            raise TimeoutError(f"no answer in time: {question.text}")
        raise errors.make_error(error, self._client.codec.load_error)

    # ---------------------------------------------------------------- where messages are delivered

    def deliver(self, reply: m.SharedReply) -> None:
        """Take an answer."""
        client = self._client
        with self._lock:
            question = self._questions.pop(reply.request, None)
            if question is None:
                return
            is_abandoned = question.is_abandoned
        futures = {} if is_abandoned or not reply.keys else client.futures_of_keys(list(reply.keys))
        answer = Answer(reply.values, futures, client.codec) if reply.error is None else None
        if is_abandoned and answer is not None and question.undo is not None:
            question.undo(answer)
        if reply.keys:  # after the message by which we want them, or what is undone, which needs them
            client.send(m.SharedTaken(client.name, reply.request))
        question.end(answer, reply.error)

    def close(self, reason: BaseException) -> None:
        """Fail all requests: no answer will come."""
        self._closed = reason
        for number in list(self._questions):
            question = self._questions.pop(number, None)
            if question is not None:
                question.end(None, reason)

    # ---------------------------------------------------------------- items

    def pack(self, value: Any) -> Item:
        """Make an item of a future, or of a small value with futures in it.

        Raises
        ------
        ValueError
            When it is too large, or a future of another executor.
        Exception
            Whatever pickling the value raises; the error of a future that failed before it came to the cluster.
        """
        codec = self._client.codec
        # Here and not by the codec: among arguments futures of other executors may be left alone.
        for reference in arguments.find((value,), {}).references.values():
            self._client.share(reference)
        payload, keys, references = codec.dump_call((value,), {}, True)
        try:
            if len({reference.key for reference in references}) != len(keys):
                raise TypeError(
                    "a future inside an object cannot be shared; put it directly, or into a list, tuple, dict or set"
                )
            size_bytes = codec.call_size(payload)
            if size_bytes > shared.MAX_ITEM_BYTES:
                raise ValueError(
                    f"the value takes {size_bytes:,} bytes, and a shared object takes values up to "
                    f"{shared.MAX_ITEM_BYTES:,}; put a future of it instead, such as executor.scatter(value)"
                )
        except BaseException:
            codec.release(payload)
            raise
        return Item(payload, size_bytes, tuple(keys))


def _plain(args: tuple[Any, ...]) -> list[Any]:
    return [plain_value(arg, None, (Call,)) for arg in args]


# ---------------------------------------------------------------- without a scheduler


class LocalObjects:
    """Shared objects of the sync engine: the same states, asked in the caller's thread.

    Its futures are done and in this process, and the items hold them; so there is nothing to keep alive.
    """

    def __init__(self, client: str) -> None:
        self._client = client
        self._objects = SharedObjects(self, self, self._send)
        self._lock = locks.Lock()
        self._replies: list[m.SharedReply] = []

    def handle(self, message: m.Message, deliver: Callable[[m.SharedReply], None]) -> None:
        """Take a message of the client, and deliver all answers that follow."""
        with self._lock:
            if type(message) is m.AskShared:
                self._objects.ask(message, clocks.monotonic())
            elif type(message) is m.WithdrawShared:
                self._objects.withdraw(message)
            elif type(message) is m.SharedTaken:
                self._objects.taken(message)
            replies, self._replies = self._replies, []
        for reply in replies:
            deliver(reply)

    def _send(self, client: str, reply: m.SharedReply) -> None:
        self._replies.append(reply)

    def is_program(self, client: str) -> bool:
        """See ``scheduler.shared.objects.Programs``."""
        return True

    def any_program(self) -> bool:
        """See ``scheduler.shared.objects.Programs``."""
        return True

    def keep(self, key: Key) -> None:
        """See ``scheduler.shared.objects.PinsTasks``."""

    def let_go(self, key: Key) -> None:
        """See ``scheduler.shared.objects.PinsTasks``."""


# ---------------------------------------------------------------- extensions


def load_extension(path: str) -> Any:
    """Import a class or module, and register it with the schedulers of this process.

    A class of states is registered, and of a class of plugins one is made; a module does either when it is imported.

    Parameters
    ----------
    path : str
        ``"module:Class"`` or ``"module"``.

    Returns
    -------
    type or module
        The class, or the module.

    Raises
    ------
    ImportError, AttributeError
        When there is no such thing.
    TypeError
        When the class is neither.
    """
    found = _import(path)
    if isinstance(found, ModuleType):
        return found
    if isinstance(found, type) and issubclass(found, SharedState):
        return shared.register(found)
    if isinstance(found, type) and issubclass(found, plugin_runner.SchedulerPlugin):
        plugin_runner.watch_schedulers(found())
        return found
    raise TypeError(f"{path} is no subclass of SharedState or SchedulerPlugin")


def load_on_worker(*paths: str) -> None:
    """Import each ``"module:Class"`` or ``"module"``; make plugins of workers.

    The initializer of workers with ``--preload``.
    """
    for path in paths:
        plugin = worker_plugin(path)
        if plugin is not None:
            plugin_runner.watch_worker(plugin())


def worker_plugin(path: str) -> type[plugin_runner.WorkerPlugin] | None:
    """Import a class of plugins of workers, or a module.

    Raises
    ------
    ImportError, AttributeError
        When there is no such thing.
    TypeError
        When the class is another.
    """
    found = _import(path)
    if isinstance(found, ModuleType):
        return None
    if not (isinstance(found, type) and issubclass(found, plugin_runner.WorkerPlugin)):
        raise TypeError(f"{path} is no subclass of WorkerPlugin")
    return found


def _import(path: str) -> Any:
    module, _, name = path.partition(":")
    found = import_module(module)
    return getattr(found, name) if name else found
