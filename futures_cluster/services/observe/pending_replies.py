"""Questions to several workers at once, and noticing that all have answered.

Covers: which workers of a round have yet to answer. Does not cover: asking, and how long it is worth waiting
(``monitor``).
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future

from futures_cluster import locks


class PendingReplies:
    """Rounds of questions; each method may be called on any thread.

    Examples
    --------
    >>> rounds = PendingReplies()
    >>> done = rounds.begin(["a", "b"])
    >>> rounds.answered("a")
    >>> done.done()
    False
    >>> rounds.answered("b")
    >>> done.done()
    True
    """

    def __init__(self) -> None:
        self._lock = locks.Lock()
        self._open: dict[Future[None], dict[str, None]] = {}  # a round -> workers that have yet to answer

    def begin(self, names: Iterable[str]) -> Future[None]:
        """Return a future that is done when these workers, asked next, have answered."""
        done: Future[None] = Future()
        done.set_running_or_notify_cancel()  # a viewer may stop waiting, the others go on
        missing = dict.fromkeys(names)
        if missing:
            with self._lock:
                self._open[done] = missing
        else:
            done.set_result(None)
        return done

    def answered(self, name: str) -> None:
        """Take note that a worker has answered, or is gone."""
        complete = []
        with self._lock:
            for done, missing in list(self._open.items()):
                missing.pop(name, None)
                if not missing:
                    del self._open[done]
                    complete.append(done)
        for done in complete:
            done.set_result(None)

    def end(self, done: Future[None]) -> None:
        """Stop waiting for the answers that have not come."""
        with self._lock:
            was_open = self._open.pop(done, None) is not None
        if was_open:
            done.set_result(None)
