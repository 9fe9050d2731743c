"""What a program asks of its own executor: the status page, reports, and what tasks print.

Covers: the same for workers that are processes and threads of the program. Does not cover: collecting facts
(``monitor``), serving the page (``page_thread``), the cluster of another program (``engines.remote``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from futures_cluster import locks
from futures_cluster.services.observe.monitor import ClusterMonitor

if TYPE_CHECKING:
    from futures_cluster.services.observe.page_thread import StatusPage

#: Workers have answered by then, or never will.
ANSWER_TIMEOUT_S = 5.0


class ProgramView:
    """Shows one executor to its program.

    Parameters
    ----------
    monitor : ClusterMonitor
        Of the executor.
    is_closed : callable
        Whether the executor was shut down.
    """

    def __init__(self, monitor: ClusterMonitor, is_closed: Callable[[], bool]) -> None:
        self.monitor = monitor
        self._is_closed = is_closed
        self._page: StatusPage | None = None
        self._lock = locks.RLock()  # a finalizer may come back here

    def status_url(self) -> str:
        """Return the address of the status page; from any thread.

        The first call begins to serve it.
        """
        from futures_cluster.services.observe.page_thread import StatusPage

        with self._lock:
            if self._is_closed():
                raise RuntimeError("the executor was shut down, and its status page with it")
            if self._page is None:
                self._page = StatusPage(self.monitor)
            return self._page.url

    @property
    def known_url(self) -> str:
        """The address of the status page, if it was asked for."""
        page = self._page
        return "" if page is None or self._is_closed() else page.url

    def take_page(self) -> StatusPage | None:
        """Return the status page for the caller to close, once the executor is."""
        with self._lock:
            page, self._page = self._page, None
        return page

    @contextlib.contextmanager
    def observe(self) -> Iterator[Callable[[], dict[str, Any]]]:
        """Let workers report until the block ends; yields what puts all together."""
        monitor = self.monitor
        since = monitor.last_chunk

        def everything() -> dict[str, Any]:
            self.ask()
            return monitor.everything(since)

        with monitor.viewer():
            yield everything

    @contextlib.contextmanager
    def listen(self) -> Iterator[Callable[[bool], list[Any]]]:
        """Let workers report output until the block ends; yields what fetches it."""
        monitor = self.monitor
        since, _ = monitor.output(-1)

        def fetch(last: bool) -> list[Any]:
            nonlocal since
            if last:
                self.ask()
            since, rows = monitor.output(since)
            return rows

        with monitor.viewer(output=True):
            self.ask()  # they listen from now on
            yield fetch

    def ask(self) -> None:
        """Have all workers report, and wait for it a little."""
        with contextlib.suppress(TimeoutError):  # the loop has ended, which would tell us
            self.monitor.ask_workers().result(ANSWER_TIMEOUT_S)
