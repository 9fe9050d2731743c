"""Shared objects: small states on the scheduler, which all clients and tasks reach by a name.

Covers: what such a state is (``SharedState``), the register of their kinds, and carrying requests to them
(``SharedObjects``). Does not cover: any kind (``channel`` is one), what a key in a state means for its task
(``pins``), the client's side (``services.client.shared_objects``, ``channels``).

The way of a request: AskShared -> the method ``on_<op>`` of the state -> ``reply`` or ``refuse``, then or later ->
SharedReply. A request that is not answered at once stays open: the state keeps it and answers when it can, so no
client polls. It is withdrawn when the client no longer waits, or leaves.

Values are plain: None, bool, int, float, str, bytes, and tuples and dicts of them. A value that users put into a state
is an *item*: a payload that the scheduler never unpickles, its size, and the keys of the futures in it. The tasks
behind these keys are kept alive while the state keeps the item, and then until the client that gets it has futures of
its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

from futures_cluster import messages as m
from futures_cluster.messages import Key, Payload

#: An item's payload is no longer; what is larger belongs into a future.
MAX_ITEM_BYTES = 32 * 1024
#: The error of a request that was withdrawn; never seen by users.
WITHDRAWN = "withdrawn"

_LEAVES = frozenset((type(None), bool, int, float, str, bytes))


class Item(NamedTuple):
    """A value that a caller put into a shared object.

    Attributes
    ----------
    payload : bytes or tuple
        The pickled value.
    size_bytes : int
        Size of the payload.
    keys : tuple of str
        Keys of the futures in the value.
    """

    payload: Payload
    size_bytes: int
    keys: tuple[Key, ...]


class Request:
    """A request of a client, which the object answers once.

    Attributes
    ----------
    client : str
        Name of the client.
    is_open : bool
        Whether it can still be answered.
    """

    __slots__ = ("_number", "_state", "client", "is_open")

    def __init__(self, client: str, number: int, state: SharedState) -> None:
        self.client: str = client
        self._number: int = number
        self._state: SharedState = state
        self.is_open: bool = True

    def __repr__(self) -> str:
        return f"<Request {self._number} of {self.client}>"


class SharedState:
    """Base class of the states of shared objects.

    A class derived from it has a ``kind`` and methods ``on_<op>(request, *args)``. Each of these answers its request
    with ``reply`` or ``refuse``, or keeps it, for another method to answer later. An error that such a method raises
    refuses the request; so it looks at its arguments before it changes anything. States do no IO and read no clock
    (``self.now`` has the time of the present event), and iterate dicts, never sets.

    Attributes
    ----------
    kind : str
        Names the class to its handles.
    name : str
        Of the object.
    serial : int
        Tells an object from another one that had the same name before it.
    now : float
        Seconds on a monotonic clock.
    """

    kind: ClassVar[str] = ""

    def __init__(self, name: str) -> None:
        self.name = name
        self.serial = 0
        self.now: float = 0.0
        self._host: SharedObjects
        self._kept: dict[Key, int] = {}
        self._users: dict[str, bool] = {}  # client -> whether it is a program, and no worker
        self._open: dict[Request, None] = {}
        self._of_program = False

    # ---------------------------------------------------------------- for the kinds to override

    def on_open(self, request: Request, options: dict[str, Any]) -> None:
        """Answer a client that opens the object; the first one has just made it.

        Parameters
        ----------
        request : Request
            The request.
        options : dict
            Options of the handle, plain values.
        """
        self.reply(request)

    def withdrawn(self, request: Request) -> None:
        """Forget a request whose answer its client no longer awaits.

        Parameters
        ----------
        request : Request
            The request.
        """

    def client_left(self, client: str) -> None:
        """Take note that a client has left; all its requests were withdrawn.

        Parameters
        ----------
        client : str
            Name of the client, which had used the object.
        """

    # ---------------------------------------------------------------- for the kinds to use

    def reply(self, request: Request, *values: Any) -> None:
        """Answer a request.

        Parameters
        ----------
        request : Request
            The request.
        *values
            Plain values and items.
        """
        self._host.answer(request, values)

    def refuse(self, request: Request, text: str, error: str = "SharedObjectError") -> None:
        """Answer a request with an error.

        Parameters
        ----------
        request : Request
            The request.
        text : str
            What went wrong, and what to do.
        error : str
            Name of a class in ``futures_cluster.errors``.
        """
        self._host.answer(request, (), {"kind": error, "text": text})

    @staticmethod
    def item(value: Any) -> Item:
        """Read an item from the arguments of a request.

        Parameters
        ----------
        value : object
            Argument of a request.

        Returns
        -------
        Item
            The item.

        Raises
        ------
        TypeError, ValueError
            When it is anything else, or too large.
        """
        payload, size_bytes, keys = value
        if type(payload) is bytes:
            size_bytes = len(payload)
        if type(size_bytes) is not int or size_bytes < 0 or not all(type(key) is str for key in keys):
            raise TypeError("an item is (payload, bytes, keys)")
        if size_bytes > MAX_ITEM_BYTES:
            raise ValueError(f"an item has at most {MAX_ITEM_BYTES} bytes, not {size_bytes}")
        return Item(payload, size_bytes, tuple(keys))

    def keep(self, item: Item) -> None:
        """Keep the tasks of an item, and their results.

        Parameters
        ----------
        item : Item
            The item; each call needs a ``let_go``.
        """
        for key in item.keys:
            self._kept[key] = self._kept.get(key, 0) + 1
            self._host.keeper.keep(key)

    def let_go(self, item: Item) -> None:
        """Release the tasks of an item: the inverse of one call of ``keep``.

        Parameters
        ----------
        item : Item
            The item.
        """
        for key in item.keys:
            if key in self._kept:
                self._kept[key] -= 1
                if not self._kept[key]:
                    del self._kept[key]
                self._host.keeper.let_go(key)


# ---------------------------------------------------------------- the register

_kinds: dict[str, type[SharedState]] = {}

StateClass = TypeVar("StateClass", bound=type[SharedState])


def register(cls: StateClass) -> StateClass:
    """Register a kind of shared object with the schedulers of this process.

    Parameters
    ----------
    cls : type
        Class of the states; it needs a ``kind``.

    Returns
    -------
    type
        The class, so that this may decorate it.

    Raises
    ------
    ValueError
        When it has no kind, or another class has the same.
    """
    other = _kinds.get(cls.kind)
    if not cls.kind:
        raise ValueError(f"{cls.__name__} needs a class attribute kind")
    if other is not None and (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ValueError(f"{cls.__name__} and {other.__name__} both have the kind {cls.kind!r}")
    _kinds[cls.kind] = cls
    return cls


# ---------------------------------------------------------------- all of them


class PinsTasks(Protocol):
    """Who keeps tasks alive: ``pins.Pins``."""

    def keep(self, key: Key) -> None:
        """Count one more need of the result."""

    def let_go(self, key: Key) -> None:
        """Count one need less."""


class Programs(Protocol):
    """Who the clients are; of the scheduler's state."""

    def is_program(self, client: str) -> bool:
        """Return whether a client is a program, and not a worker whose tasks ask."""

    def any_program(self) -> bool:
        """Return whether there is any."""


class SharedObjects:
    """The shared objects of a scheduler; a part of its machine.

    An object lives until it is deleted, or the last program that had opened it leaves. One that only tasks have
    opened goes when no program is left at all.

    Parameters
    ----------
    keeper : PinsTasks
        Keeps the tasks of items alive.
    programs : Programs
        Tells programs from workers.
    send : callable
        ``send(client, reply)``.
    """

    def __init__(self, keeper: PinsTasks, programs: Programs, send: Callable[[str, m.SharedReply], None]) -> None:
        self.keeper = keeper
        self.objects: dict[tuple[str, str], SharedState] = {}
        self.lent: dict[tuple[str, int], tuple[Key, ...]] = {}  # what was given away, until the client has futures
        self.faults: list[str] = []  # what states have raised where no client waits for an answer
        self._programs = programs
        self._send = send
        self._open: dict[str, dict[int, Request]] = {}  # by client
        self._serial = 0

    def ask(self, event: m.AskShared, now: float) -> None:
        """Carry a request to its object."""
        state = self.objects.get((event.kind, event.name))
        if state is None:
            state = self._make(event)
        if state is None:
            return
        if event.client not in state._users:
            program = self._programs.is_program(event.client)
            state._users[event.client] = program
            state._of_program = state._of_program or program
        request = Request(event.client, event.request, state)
        if event.request:
            if (event.client, event.request) in self.lent:
                return  # said twice; the number tells what the client takes, so it stands for one answer
            requests = self._open.setdefault(event.client, {})
            if event.request in requests:
                return  # said twice
            requests[event.request] = request
            state._open[request] = None
        if event.op == "delete":
            self._remove(state, but=request)
            self.answer(request, ())
            return
        state.now = now
        try:
            getattr(state, f"on_{event.op}")(request, *event.args)
        except Exception as error:
            text = f"the {event.kind} {event.name!r} does not take this {event.op!r}: {error!r}"
            state.refuse(request, text)
            if not event.request:
                self.faults.append(text)

    def _make(self, event: m.AskShared) -> SharedState | None:
        kind, name = event.kind, event.name
        cls = _kinds.get(kind)
        text = ""
        if cls is None:
            text = (
                f"the scheduler knows no shared objects of the kind {kind!r}: register its state class where the "
                f"scheduler runs (for the command: futures-cluster scheduler --preload MODULE)"
            )
        elif event.op != "open":
            text = f"there is no {kind} {name!r}: it was deleted, or never opened; open it again"
        if cls is None or text:
            if event.request:
                error = {"kind": "SharedObjectError", "text": text}
                self._send(event.client, m.SharedReply(event.request, [], error))
            return None
        state = cls(name)
        self._serial += 1
        state.serial = self._serial
        state._host = self
        self.objects[kind, name] = state
        return state

    def withdraw(self, event: m.WithdrawShared) -> None:
        """Withdraw a request; its client hears so, unless the answer is under way."""
        request = self._open.get(event.client, {}).get(event.request)
        if request is not None:
            self._tell(request._state, request._state.withdrawn, request)
            self.answer(request, (), {"kind": WITHDRAWN, "text": ""})

    def taken(self, event: m.SharedTaken) -> None:
        """Take note that the client has futures of what it was given."""
        for key in self.lent.pop((event.client, event.request), ()):
            self.keeper.let_go(key)

    def client_left(self, client: str) -> None:
        """Drop a gone client's requests, and objects that it was the last to use."""
        for request in list(self._open.pop(client, {}).values()):
            request.is_open = False
            del request._state._open[request]
            self._tell(request._state, request._state.withdrawn, request)
        for owner, number in [place for place in self.lent if place[0] == client]:
            self.taken(m.SharedTaken(owner, number))
        any_program = self._programs.any_program()
        for state in list(self.objects.values()):
            if state._users.pop(client, None) is not None:
                self._tell(state, state.client_left, client)
            used = any(state._users.values()) if state._of_program else any_program
            if not used:
                self._remove(state)

    def _tell(self, state: SharedState, method: Callable[[Any], None], arg: Any) -> None:
        try:
            method(arg)
        except Exception as error:
            self.faults.append(f"the {state.kind} {state.name!r} failed in {method.__name__}({arg!r}): {error!r}")

    def _remove(self, state: SharedState, but: Request | None = None) -> None:
        del self.objects[state.kind, state.name]
        for request in list(state._open):
            if request is not but:
                state.refuse(request, f"the {state.kind} {state.name!r} was deleted")
        for key, number in state._kept.items():
            for _ in range(number):
                self.keeper.let_go(key)
        state._kept = {}

    def answer(self, request: Request, values: tuple[Any, ...], error: Payload = None) -> None:
        """Send an answer; only the first one to a request counts."""
        if not request.is_open:
            return
        keys: dict[Key, None] = {}
        plain = [plain_value(value, keys) for value in values]
        request.is_open = False
        client, number = request.client, request._number
        if not number:
            return
        requests = self._open[client]
        del requests[number]
        if not requests:
            del self._open[client]
        request._state._open.pop(request, None)
        for key in keys:
            self.keeper.keep(key)
        if keys:
            self.lent[client, number] = tuple(keys)
        self._send(client, m.SharedReply(number, plain, error, list(keys)))


def plain_value(value: Any, keys: dict[Key, None] | None = None, opaque: tuple[type, ...] = (object,)) -> Any:
    """Return a copy that shares nothing mutable; gathers the keys of items.

    Parameters
    ----------
    opaque : tuple of type
        What else is taken, and not looked into.

    Raises
    ------
    TypeError, ValueError
        For anything else, and for a number over 64 bits, which could not be sent.
    """
    kind = type(value)
    if kind in _LEAVES:
        if kind is int and not -(2**63) <= value < 2**64:
            raise ValueError(f"{value} has more than 64 bits")
        return value
    if kind is Item:
        if keys is not None:
            keys.update(dict.fromkeys(value.keys))
        return value
    if kind is tuple or kind is list:
        return tuple([plain_value(part, keys, opaque) for part in value])
    if kind is dict:
        return {plain_value(name, keys, opaque): plain_value(part, keys, opaque) for name, part in value.items()}
    if isinstance(value, opaque):
        return value
    raise TypeError(
        f"a request takes None, bool, int, float, str, bytes, and lists, tuples and dicts of them, not "
        f"{kind.__name__}; put other objects into an item, by the handle's pack()"
    )
