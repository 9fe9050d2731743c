"""What the engine tells of itself, and what threads cannot do.

Covers: workers, counts, explanations, the ways to the status page and to plugins. Does not cover: running anything
(``engine``), showing anything (``view``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from futures_cluster import clocks, context, errors
from futures_cluster.engines.base import how_it_ended, worker_facts
from futures_cluster.engines.inprocess.lifecycle import WorkLifecycle
from futures_cluster.engines.inprocess.slots import SlotThread
from futures_cluster.engines.inprocess.work import WorkItem
from futures_cluster.messages import Key

if TYPE_CHECKING:
    from futures_cluster.engines.inprocess.view import EngineView
    from futures_cluster.services.common.plugin_runner import SchedulerPlugin


class EngineIntrospection(WorkLifecycle):
    """Part of ``InProcessEngine``."""

    max_workers: int
    resources: dict[str, float]
    _lock: threading.RLock
    _check: Callable[[], None]
    _looks = 0  # numbers that ``count_tasks`` has used up
    _view: EngineView | None = None  # from the first look on

    def watch(self, plugin: SchedulerPlugin) -> None:
        """See ``Engine``."""
        if self.closing:
            raise RuntimeError("cannot watch an executor after shutdown")
        self.instrumentation.watch(plugin)

    @property
    def threads(self) -> list[SlotThread]:
        """The slots that have been started."""
        return self._slots.all

    def running(self) -> list[WorkItem]:
        """Work that threads execute."""
        tasks = [slot.task for slot in self._slots.all]
        return [task for task in tasks if isinstance(task, WorkItem) and task.number not in self.queued]

    def known_results(self) -> list[Any]:
        """Return the futures of ended calls whose key a user or library has read."""
        return [future for future in list(self._keyed.values()) if future._state == "FINISHED"]

    def workers(self) -> dict[str, dict[str, Any]]:
        """See ``Engine``."""
        self._check()
        return {self.name: worker_facts(0, self.max_workers, len(self.running()), 0, self.resources)}

    def count_pending(self) -> int:
        """Return how many tasks are not done."""
        return len(self.queued) + len(self.running())

    def count_tasks(self) -> tuple[int, int]:
        """See ``Engine``."""
        if self.forked:
            return 0, 0
        with self._lock:
            self._looks += 1
            submitted = next(self._numbers) - self._looks
        return submitted, self.count_pending()

    def unfinished_futures(self) -> list[Any]:
        """See ``Engine``."""
        parent = context.submitting_task()
        works = [*list(self.queued.values()), *self.running()]
        futures = [work.future for work in works if parent is None or work.parent is parent]
        return [future for future in futures if future is not None]

    def wait_for_workers(self) -> list[str]:
        """See ``Engine``."""
        self._check()
        return [self.name]

    def scale(self, minimum: int, maximum: int) -> None:
        """See ``Engine``."""
        raise errors.NotSupported("the threads of an executor are fixed; make another one with more max_workers")

    def restart_workers(self) -> None:
        """See ``Engine``."""
        raise errors.NotSupported("threads share the modules of this process, and cannot be restarted")

    def explain(self, key: Key) -> list[str]:
        """See ``Engine``."""
        self._check()
        from futures_cluster.engines.inprocess.snapshot import take_snapshot
        from futures_cluster.scheduler.views.explain import explain

        now = clocks.monotonic()
        future = self._keyed.get(key)
        if future is None or not future.done():
            return explain(take_snapshot(self, now, in_order=True), key, now)  # type: ignore[arg-type]
        return [how_it_ended(future)]

    def _open_view(self) -> EngineView:
        from futures_cluster.engines.inprocess.view import EngineView

        self._check()
        with self._lock:
            if self._view is None:
                self._view = EngineView(self)  # type: ignore[arg-type]
            return self._view

    def status_url(self) -> str:
        """See ``EngineView``."""
        return self._open_view().status_url()

    @property
    def known_url(self) -> str:
        """See ``EngineView``."""
        return "" if self._view is None else self._view.known_url

    def observe(self) -> AbstractContextManager[Callable[[], dict[str, Any]]]:
        """See ``EngineView``."""
        return self._open_view().observe()

    def listen(self) -> AbstractContextManager[Callable[[bool], list[Any]]]:
        """See ``EngineView``."""
        return self._open_view().listen()

    def stop_workers(self, force: bool) -> None:
        """See ``Engine``."""
        raise errors.NotSupported("threads cannot be stopped; use shutdown(cancel_futures=True)")
