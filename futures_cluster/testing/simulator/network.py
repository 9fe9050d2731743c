"""The network of a simulation: latency, bandwidth, hosts, and links that are cut for a time.

Covers: when a message arrives. A link is one direction of one connection; messages keep their order on it, because a
connection does. A message with a size takes its turn on the link, and, where hosts have network cards of limited rate,
its share of the sender's and of the receiver's. Partitions: as TCP does it, messages are held while a link is cut, and
arrive after it has healed; a side that gives up before closes the connection, and its messages are lost. Does not
cover: giving up (``simulation``), when partitions happen (``faults``).

The shares are equal: a card divides its rate by the transfers on it, and a transfer gets the smaller of its two shares.
The others do not get the part that it cannot use at one end, so a congested network is a little slower than a perfect
one.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
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
        What a message takes.
    jitter_s : float
        The most that it takes in addition; drawn for each message, by a generator that each link has from the seed.
    bandwidth_bytes_s : float
        The rate of one link.
    nic_bytes_s : float or None
        What one host can send, and as much again that it can receive, for all its workers; None: no limit.
    local_latency_s, local_bandwidth_bytes_s : float or None
        The same between two workers of one host; None: as between hosts. The network cards are not in the way.
    """

    latency_s: float = 1e-4
    jitter_s: float = 0.0
    bandwidth_bytes_s: float = 1e9
    nic_bytes_s: float | None = None
    local_latency_s: float | None = None
    local_bandwidth_bytes_s: float | None = None


class VirtualClock(Protocol):
    """What the network needs of the simulation."""

    seed: int
    now: float

    def at(self, time_s: float, do: Callable[..., None], *args: Any) -> None:
        """Call something later."""


class Partition:
    """Links that are cut: between ``names`` and the scheduler, and between ``names`` and all the others."""

    def __init__(self, names: Iterable[str], scheduler: bool = True, peers: bool = True) -> None:
        self.names = dict.fromkeys(names)
        self.scheduler = scheduler
        self.peers = peers

    def cuts(self, sender: str, receiver: str) -> bool:
        """Return whether a link does not work."""
        inside = sender in self.names
        if inside == (receiver in self.names):
            return False
        other = receiver if inside else sender
        return self.scheduler if other == SCHEDULER else self.peers


class Link:
    """One direction of a connection.

    Attributes
    ----------
    arrival_s : float
        When the last message on it arrives.
    free_s : float
        When the last transfer on it has left.
    behind : deque or None
        Messages that wait for the end of a transfer that shares network cards.
    troubled : bool
        It is or was cut, or it is closed.
    """

    __slots__ = (
        "arrival_s",
        "bandwidth_bytes_s",
        "behind",
        "closed",
        "cut_since_s",
        "cuts",
        "floor_s",
        "free_s",
        "held",
        "latency_s",
        "local",
        "random",
        "receiver",
        "sender",
        "troubled",
    )

    def __init__(self, sender: str, receiver: str, latency_s: float, bandwidth_bytes_s: float, local: bool) -> None:
        self.sender = sender
        self.receiver = receiver
        self.latency_s = latency_s
        self.bandwidth_bytes_s = bandwidth_bytes_s
        self.local = local
        self.arrival_s = self.free_s = 0.0
        self.behind: deque[tuple[Message, int, float]] | None = None
        self.random: random.Random | None = None
        self.troubled = self.closed = False
        self.cuts = 0
        self.cut_since_s = 0.0
        self.floor_s = 0.0  # nothing arrives before: what was held comes first
        self.held: list[Message] = []


class _Flow:
    """A transfer that shares network cards."""

    __slots__ = ("delay_s", "left_bytes", "link", "message", "rate_bytes_s", "since_s", "version")

    def __init__(self, link: Link, message: Message, size_bytes: int, delay_s: float) -> None:
        self.link = link
        self.message = message
        self.left_bytes = float(size_bytes)
        self.delay_s = delay_s
        self.rate_bytes_s = 0.0
        self.since_s = 0.0
        self.version = 0


class Network:
    """All links; made by ``Simulation``.

    Parameters
    ----------
    model : NetworkModel
        How fast it is.
    clock : VirtualClock
        The simulation.
    deliver : callable
        ``deliver(sender, receiver, message)``: a message has arrived.
    """

    def __init__(self, model: NetworkModel, clock: VirtualClock, deliver: Callable[[str, str, Message], None]) -> None:
        self.model = model
        self.hosts: dict[str, str] = {}  # name -> host, for those that share one
        self._clock = clock
        self._deliver = deliver
        self._links: dict[tuple[str, str], Link] = {}
        self._partitions: list[Partition] = []
        self._sending: dict[str, dict[_Flow, None]] = {}  # by host
        self._receiving: dict[str, dict[_Flow, None]] = {}

    # ---------------------------------------------------------------- messages

    def send(self, sender: str, receiver: str, message: Message, size_bytes: int = 0, delay_s: float = 0.0) -> None:
        """Put a message onto its link; ``delay_s`` is added to what it takes."""
        link = self._links.get((sender, receiver))
        if link is None:
            link = self._connect(sender, receiver)
        if link.behind is not None:
            link.behind.append((message, size_bytes, delay_s))
        elif size_bytes and self.model.nic_bytes_s is not None and not link.local:
            link.behind = deque()
            self._start(_Flow(link, message, size_bytes, delay_s))
        else:
            self._put(link, message, size_bytes, delay_s)

    def _put(self, link: Link, message: Message, size_bytes: int, delay_s: float) -> None:
        clock = self._clock
        arrival = clock.now + link.latency_s + delay_s
        if size_bytes:
            link.free_s = max(link.free_s, clock.now) + size_bytes / link.bandwidth_bytes_s
            arrival = link.free_s + link.latency_s + delay_s
        if link.random is not None:
            arrival += link.random.uniform(0.0, self.model.jitter_s)
        if arrival < link.arrival_s:
            arrival = link.arrival_s
        link.arrival_s = arrival
        clock.at(arrival, self._arrive, link, message)

    def _arrive(self, link: Link, message: Message) -> None:
        if link.troubled:
            if link.closed:
                return
            if link.cuts:
                link.held.append(message)
                return
            if self._clock.now < link.floor_s:
                self._clock.at(link.floor_s, self._arrive, link, message)
                return
        self._deliver(link.sender, link.receiver, message)

    # ---------------------------------------------------------------- connections

    def host(self, name: str) -> str:
        """Return the host of a process; by default each has its own."""
        return self.hosts.get(name, name)

    def _connect(self, sender: str, receiver: str) -> Link:
        model = self.model
        latency_s, bandwidth_bytes_s = model.latency_s, model.bandwidth_bytes_s
        local = sender != SCHEDULER != receiver and self.host(sender) == self.host(receiver)
        if local and model.local_latency_s is not None:
            latency_s = model.local_latency_s
        if local and model.local_bandwidth_bytes_s is not None:
            bandwidth_bytes_s = model.local_bandwidth_bytes_s
        link = self._links[sender, receiver] = Link(sender, receiver, latency_s, bandwidth_bytes_s, local)
        if model.jitter_s:
            link.random = random.Random(f"{self._clock.seed} {sender} {receiver}")
        for partition in self._partitions:
            if partition.cuts(sender, receiver):
                self._cut(link)
        return link

    def close(self, one: str, other: str) -> None:
        """End a connection with all that is on it; later messages open a new one."""
        self.close_way(one, other)
        self.close_way(other, one)

    def close_way(self, sender: str, receiver: str) -> None:
        """Drop what is on its way in this direction."""
        link = self._links.pop((sender, receiver), None)
        if link is not None:
            link.closed = link.troubled = True
            link.held = []
            if link.behind is not None:
                link.behind.clear()

    # ---------------------------------------------------------------- partitions

    def is_cut(self, one: str, other: str, since_s: float | None = None) -> bool:
        """Return whether two cannot talk; with ``since_s``: all the time since then."""
        if since_s is None:
            return any(partition.cuts(one, other) for partition in self._partitions)
        link = self._links.get((one, other)) or self._connect(one, other)
        return link.cuts > 0 and link.cut_since_s <= since_s

    def cut(self, partition: Partition) -> None:
        """Cut links until ``heal`` is called with the same partition."""
        self._partitions.append(partition)
        for link in self._links.values():
            if partition.cuts(link.sender, link.receiver):
                self._cut(link)

    def _cut(self, link: Link) -> None:
        if not link.cuts:
            link.cut_since_s = self._clock.now
        link.cuts += 1
        link.troubled = True

    def heal(self, partition: Partition) -> None:
        """Restore the links; held messages arrive first, in their order."""
        self._partitions.remove(partition)
        for link in list(self._links.values()):
            if not partition.cuts(link.sender, link.receiver):
                continue
            link.cuts -= 1
            if link.cuts:
                continue
            held, link.held = link.held, []
            link.floor_s = self._clock.now + link.latency_s
            link.arrival_s = max(link.arrival_s, link.floor_s)
            for message in held:
                self._clock.at(link.floor_s, self._arrive, link, message)

    # ---------------------------------------------------------------- shared network cards

    def _start(self, flow: _Flow) -> None:
        link = flow.link
        flow.since_s = self._clock.now
        sending = self._sending.setdefault(self.host(link.sender), {})
        receiving = self._receiving.setdefault(self.host(link.receiver), {})
        sending[flow] = receiving[flow] = None
        self._share({**sending, **receiving})

    def _share(self, flows: dict[_Flow, None]) -> None:
        """Give each of the transfers its share, which may have changed."""
        now, nic_bytes_s = self._clock.now, self.model.nic_bytes_s
        assert nic_bytes_s is not None
        for flow in flows:
            link = flow.link
            transfers = max(len(self._sending[self.host(link.sender)]), len(self._receiving[self.host(link.receiver)]))
            rate_bytes_s = min(link.bandwidth_bytes_s, nic_bytes_s / transfers)
            if rate_bytes_s == flow.rate_bytes_s:
                continue
            flow.left_bytes -= flow.rate_bytes_s * (now - flow.since_s)
            flow.rate_bytes_s, flow.since_s = rate_bytes_s, now
            flow.version += 1
            end_s = now + max(0.0, flow.left_bytes) / rate_bytes_s
            self._clock.at(end_s, self._end, flow, flow.version)

    def _end(self, flow: _Flow, version: int) -> None:
        if version != flow.version:
            return  # its share has changed since
        link = flow.link
        sending, receiving = self._sending[self.host(link.sender)], self._receiving[self.host(link.receiver)]
        del sending[flow], receiving[flow]
        self._share({**sending, **receiving})
        self._put(link, flow.message, 0, flow.delay_s)
        behind, link.behind = link.behind, None
        while behind:
            message, size_bytes, delay_s = behind.popleft()
            if size_bytes:
                link.behind = behind
                self._start(_Flow(link, message, size_bytes, delay_s))
                return
            self._put(link, message, 0, delay_s)
