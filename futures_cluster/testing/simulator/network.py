"""The network of a simulation: when a message arrives.

A *link* is one direction of a connection between two processes. Messages on it keep their order, as on a connection.
Each has a latency; a message with a size also takes its turn on the link, as a *transfer*.

Network cards: if hosts have cards of limited rate, a card divides its rate equally among its transfers, and a transfer
gets the smaller of its shares at both ends. The others do not get the part that it leaves at one end, so a congested
network is a little slower than a perfect one.

Partitions: as with TCP, messages are held while a link is cut, and arrive after it has healed. A process that gives up
before closes the connection, and its messages are lost.

Does not cover: giving up (``simulation``), when partitions happen (``faults``).
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from futures_cluster.messages import Message

#: The scheduler's name on the network.
SCHEDULER = ""


@dataclass(frozen=True, slots=True)
class NetworkModel:
    """How fast the network is.

    Attributes
    ----------
    latency_s : float
        Time that each message takes.
    jitter_s : float
        Maximum time that a message takes in addition, drawn for each message. Each link has a generator for it, by the
        simulation's seed.
    bandwidth_bytes_s : float
        Rate of one link.
    nic_bytes_s : float or None
        Rate at which the network card of a host can send, and also receive, for all its workers; None: no limit.
    local_latency_s, local_bandwidth_bytes_s : float or None
        The same between two workers of one host, without its network card; None: as between hosts.
    """

    latency_s: float = 1e-4
    jitter_s: float = 0.0
    bandwidth_bytes_s: float = 1e9
    nic_bytes_s: float | None = None
    local_latency_s: float | None = None
    local_bandwidth_bytes_s: float | None = None


class VirtualClock(Protocol):
    """The parts of the simulation that its network needs."""

    seed: int
    now: float

    def at(self, time_s: float, do: Callable[..., None], *args: Any) -> None:
        """Call ``do(*args)`` at a simulated time."""


class Partition:
    """A set of processes that is cut off from others.

    Parameters
    ----------
    names : iterable of str
        Processes whose links among each other still work.
    scheduler, peers : bool
        Whether they are cut off from the scheduler, and from all other processes.
    """

    def __init__(self, names: Iterable[str], scheduler: bool = True, peers: bool = True) -> None:
        self.names = dict.fromkeys(names)
        self.scheduler = scheduler
        self.peers = peers

    def cuts(self, sender: str, receiver: str) -> bool:
        """Return whether a link is cut."""
        inside = sender in self.names
        if inside == (receiver in self.names):
            return False
        other = receiver if inside else sender
        return self.scheduler if other == SCHEDULER else self.peers


@dataclass(eq=False, slots=True)
class Link:
    """One direction of a connection.

    Attributes
    ----------
    jitter : Random or None
        Draws what a message takes in addition.
    last_arrival_s : float
        When the last message on it arrives: later messages do not arrive earlier.
    free_at_s : float
        When the last transfer on it has left.
    queue : deque or None
        ``(message, size_bytes, delay_s)`` of messages behind a transfer that shares network cards; None without one.
    cuts : int
        Number of partitions that cut it.
    held : list of Message
        Messages that would have arrived while it was cut.
    earliest_arrival_s : float
        When the held messages arrive after a partition has healed: other messages do not arrive before.
    needs_check : bool
        Whether ``_arrive`` has to look at the attributes above, or ``is_closed``. False for links that were never cut.
    """

    sender: str
    receiver: str
    latency_s: float
    bandwidth_bytes_s: float
    is_local: bool
    jitter: random.Random | None = None
    last_arrival_s: float = 0.0
    free_at_s: float = 0.0
    queue: deque[tuple[Message, int, float]] | None = None
    cuts: int = 0
    cut_since_s: float = 0.0
    held: list[Message] = field(default_factory=list)
    earliest_arrival_s: float = 0.0
    needs_check: bool = False
    is_closed: bool = False


@dataclass(eq=False, slots=True)
class _Transfer:
    """A transfer that shares network cards.

    Attributes
    ----------
    left_bytes : float
        Bytes that were left to send at the time ``since_s``, when its rate changed.
    version : int
        Number of changes of its rate: the end that was scheduled before a change is void.
    """

    link: Link
    message: Message
    left_bytes: float
    delay_s: float
    rate_bytes_s: float = 0.0
    since_s: float = 0.0
    version: int = 0


class Network:
    """All links; made by ``Simulation``.

    Parameters
    ----------
    model : NetworkModel
        How fast the network is.
    clock : VirtualClock
        The simulation.
    deliver : callable
        ``deliver(sender, receiver, message)``: a message has arrived.
    """

    def __init__(self, model: NetworkModel, clock: VirtualClock, deliver: Callable[[str, str, Message], None]) -> None:
        self.model = model
        self.hosts: dict[str, str] = {}  # name -> host, of processes that share one
        self._clock = clock
        self._deliver = deliver
        self._links: dict[tuple[str, str], Link] = {}
        self._partitions: list[Partition] = []
        self._sending: dict[str, dict[_Transfer, None]] = {}  # by host: the transfers on its network card
        self._receiving: dict[str, dict[_Transfer, None]] = {}

    # ---------------------------------------------------------------- messages

    def send(self, sender: str, receiver: str, message: Message, size_bytes: int = 0, delay_s: float = 0.0) -> None:
        """Send a message; ``delay_s`` is added to the time that it takes."""
        link = self._links.get((sender, receiver))
        if link is None:
            link = self._connect(sender, receiver)
        if link.queue is not None:
            link.queue.append((message, size_bytes, delay_s))
        elif size_bytes and self.model.nic_bytes_s is not None and not link.is_local:
            link.queue = deque()
            self._start_transfer(_Transfer(link, message, size_bytes, delay_s))
        else:
            self._schedule_arrival(link, message, size_bytes, delay_s)

    def _schedule_arrival(self, link: Link, message: Message, size_bytes: int, delay_s: float) -> None:
        clock = self._clock
        arrival = clock.now + link.latency_s + delay_s
        if size_bytes:
            link.free_at_s = max(link.free_at_s, clock.now) + size_bytes / link.bandwidth_bytes_s
            arrival = link.free_at_s + link.latency_s + delay_s
        if link.jitter is not None:
            arrival += link.jitter.uniform(0.0, self.model.jitter_s)
        if arrival < link.last_arrival_s:
            arrival = link.last_arrival_s
        link.last_arrival_s = arrival
        clock.at(arrival, self._arrive, link, message)

    def _arrive(self, link: Link, message: Message) -> None:
        if link.needs_check:
            if link.is_closed:
                return
            if link.cuts:
                link.held.append(message)
                return
            if self._clock.now < link.earliest_arrival_s:
                self._clock.at(link.earliest_arrival_s, self._arrive, link, message)
                return
        self._deliver(link.sender, link.receiver, message)

    # ---------------------------------------------------------------- connections

    def host(self, name: str) -> str:
        """Return the host of a process; by default each has its own."""
        return self.hosts.get(name, name)

    def _connect(self, sender: str, receiver: str) -> Link:
        model = self.model
        latency_s, bandwidth_bytes_s = model.latency_s, model.bandwidth_bytes_s
        is_local = sender != SCHEDULER != receiver and self.host(sender) == self.host(receiver)
        if is_local and model.local_latency_s is not None:
            latency_s = model.local_latency_s
        if is_local and model.local_bandwidth_bytes_s is not None:
            bandwidth_bytes_s = model.local_bandwidth_bytes_s
        link = self._links[sender, receiver] = Link(sender, receiver, latency_s, bandwidth_bytes_s, is_local)
        if model.jitter_s:
            link.jitter = random.Random(f"{self._clock.seed} {sender} {receiver}")
        for partition in self._partitions:
            if partition.cuts(sender, receiver):
                self._cut(link)
        return link

    def close(self, one: str, other: str) -> None:
        """Close a connection, and lose its messages; later messages open a new one."""
        self.close_link(one, other)
        self.close_link(other, one)

    def close_link(self, sender: str, receiver: str) -> None:
        """Close one direction of a connection, and lose its messages."""
        link = self._links.pop((sender, receiver), None)
        if link is not None:
            link.is_closed = link.needs_check = True
            link.held = []
            if link.queue is not None:
                link.queue.clear()

    # ---------------------------------------------------------------- partitions

    def is_cut(self, one: str, other: str, since_s: float | None = None) -> bool:
        """Return whether the link between two is cut; with ``since_s``: ever since then."""
        if since_s is None:
            return any(partition.cuts(one, other) for partition in self._partitions)
        link = self._links.get((one, other)) or self._connect(one, other)
        return link.cuts > 0 and link.cut_since_s <= since_s

    def cut(self, partition: Partition) -> None:
        """Cut the links of a partition, until ``heal`` is called with it."""
        self._partitions.append(partition)
        for link in self._links.values():
            if partition.cuts(link.sender, link.receiver):
                self._cut(link)

    def _cut(self, link: Link) -> None:
        if not link.cuts:
            link.cut_since_s = self._clock.now
        link.cuts += 1
        link.needs_check = True

    def heal(self, partition: Partition) -> None:
        """Restore the links of a partition; held messages arrive first, in their order."""
        self._partitions.remove(partition)
        for link in list(self._links.values()):
            if not partition.cuts(link.sender, link.receiver):
                continue
            link.cuts -= 1
            if link.cuts:
                continue
            held, link.held = link.held, []
            link.earliest_arrival_s = self._clock.now + link.latency_s
            link.last_arrival_s = max(link.last_arrival_s, link.earliest_arrival_s)
            for message in held:
                self._clock.at(link.earliest_arrival_s, self._arrive, link, message)

    # ---------------------------------------------------------------- shared network cards

    def _start_transfer(self, transfer: _Transfer) -> None:
        link = transfer.link
        transfer.since_s = self._clock.now
        sending = self._sending.setdefault(self.host(link.sender), {})
        receiving = self._receiving.setdefault(self.host(link.receiver), {})
        sending[transfer] = receiving[transfer] = None
        self._update_rates({**sending, **receiving})

    def _update_rates(self, transfers: dict[_Transfer, None]) -> None:
        """Give transfers their shares of the cards, after one has begun or ended there."""
        now, nic_bytes_s = self._clock.now, self.model.nic_bytes_s
        assert nic_bytes_s is not None
        for transfer in transfers:
            link = transfer.link
            sharers = max(len(self._sending[self.host(link.sender)]), len(self._receiving[self.host(link.receiver)]))
            rate_bytes_s = min(link.bandwidth_bytes_s, nic_bytes_s / sharers)
            if rate_bytes_s == transfer.rate_bytes_s:
                continue
            transfer.left_bytes -= transfer.rate_bytes_s * (now - transfer.since_s)
            transfer.rate_bytes_s, transfer.since_s = rate_bytes_s, now
            transfer.version += 1
            end_s = now + max(0.0, transfer.left_bytes) / rate_bytes_s
            self._clock.at(end_s, self._end_transfer, transfer, transfer.version)

    def _end_transfer(self, transfer: _Transfer, version: int) -> None:
        if version != transfer.version:
            return
        link = transfer.link
        sending, receiving = self._sending[self.host(link.sender)], self._receiving[self.host(link.receiver)]
        del sending[transfer], receiving[transfer]
        self._update_rates({**sending, **receiving})
        self._schedule_arrival(link, transfer.message, 0, transfer.delay_s)
        queue, link.queue = link.queue, None
        while queue:
            message, size_bytes, delay_s = queue.popleft()
            if size_bytes:
                link.queue = queue
                self._start_transfer(_Transfer(link, message, size_bytes, delay_s))
                return
            self._schedule_arrival(link, message, 0, delay_s)
