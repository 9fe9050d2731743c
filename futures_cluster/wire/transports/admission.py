"""Which of the handshakes under way at a listener goes when there are too many of them.

Pure: items and times are arguments. Every connection that is not authenticated yet takes a place. No source (an IPv4
address, or a /64 network of IPv6) may have more than half of the places. When one has, or when all places are taken,
the oldest handshake of the source that has the most ends. So a crowd from few addresses pushes out itself, and a peer
that needs a moment to answer stays. No handshake ends before ``GRACE_S``.

Sources from which a peer was authenticated before have as many places of their own, which strangers cannot take.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Hashable
from typing import Any

#: No handshake is ended earlier to make room for others.
GRACE_S = 0.05
#: Places for strangers, and as many for known sources.
MAX_PLACES = 512
#: Sources that are remembered; the one that was seen longest ago is forgotten first.
MAX_KNOWN = 4096


def places() -> int:
    """Return the number of handshakes that a process affords."""
    try:
        import resource
    except ImportError:  # not on Windows
        return MAX_PLACES
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MAX_PLACES if limit == resource.RLIM_INFINITY else max(8, min(MAX_PLACES, limit // 4))


def source_of(host: str) -> str:
    """Return what is counted as one source.

    Examples
    --------
    >>> source_of("10.0.0.1"), source_of("2001:db8::1:2:3"), source_of("::ffff:10.0.0.1")
    ('10.0.0.1', '2001:db8::/64', '10.0.0.1')
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


class _Pool:
    """Handshakes under way; oldest first, and by their sources."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.sources: dict[str, dict[Any, float]] = {}

    def enter(self, item: Any, source: str, now: float) -> None:
        self.sources.setdefault(source, {})[item] = now

    def leave(self, item: Any, source: str) -> None:
        items = self.sources[source]
        del items[item]
        if not items:
            del self.sources[source]

    def oldest_of_the_largest(self) -> tuple[Any, float]:
        return next(iter(max(self.sources.values(), key=len).items()))

    def is_overfull(self) -> bool:
        sizes = list(map(len, self.sources.values()))
        return sum(sizes) > self.most or max(sizes, default=0) > self.most // 2


class Admission:
    """The handshakes under way at one listener.

    Parameters
    ----------
    most : int
        Number of places for strangers, and of those for known sources.

    Examples
    --------
    >>> door = Admission(2)
    >>> for item in ("a", "b"):
    ...     door.enter(item, "10.0.0.1", now=0.0)
    >>> door.victim(now=0.0), door.victim(now=1.0)
    ((None, 0.05), ('a', 0.0))
    """

    def __init__(self, most: int) -> None:
        self._strangers, self._acquainted = _Pool(most), _Pool(most)
        self._places: dict[Hashable, tuple[_Pool, str]] = {}
        self._known: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._places)

    def enter(self, item: Hashable, source: str, now: float) -> None:
        """Take note that a handshake begins."""
        pool = self._acquainted if source in self._known else self._strangers
        self._places[item] = pool, source
        pool.enter(item, source, now)

    def leave(self, item: Hashable) -> None:
        """Take note that a handshake has ended, if it was under way."""
        if item in self._places:
            pool, source = self._places.pop(item)
            pool.leave(item, source)

    def passed(self, item: Hashable) -> None:
        """Take note that a handshake has ended well: its source is known from now on."""
        if item in self._places:
            source = self._places[item][1]
            self._known.pop(source, None)
            self._known[source] = None
            if len(self._known) > MAX_KNOWN:
                del self._known[next(iter(self._known))]
            self.leave(item)

    def victim(self, now: float, is_urgent: bool = False) -> tuple[Any, float]:
        """Return the handshake to end now, or in how many seconds one is due.

        Parameters
        ----------
        is_urgent : bool
            Whether one has to go though there are places: the process has no descriptor left.
        """
        wait_s = 0.0
        for pool in (self._strangers, self._acquainted):
            if pool.is_overfull() or (is_urgent and pool.sources):
                item, since = pool.oldest_of_the_largest()
                left_s = since + GRACE_S - now
                if left_s <= 0:
                    return item, 0.0
                wait_s = min(wait_s, left_s) if wait_s else left_s
        return None, wait_s
