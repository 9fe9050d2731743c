"""What the engine does around each call for plugins, viewers of the status page, and debug mode.

Covers: calling plugins, rows of the task stream, measured durations, texts of failures, checks of inputs. Does not
cover: showing it (``view``). Without a viewer and without plugins only failed calls come here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from futures_cluster import clocks, locks
from futures_cluster.engines.inprocess.work import WorkItem
from futures_cluster.services.common import plugin_runner
from futures_cluster.services.worker.stats import WorkerStats
from futures_cluster.wire.codec.sizeof import sizeof

if TYPE_CHECKING:
    from collections.abc import Callable

    from futures_cluster.scheduler.records import FunctionStats
    from futures_cluster.services.worker.task_stream import TaskStreamRecorder


class Instrumentation:
    """The instrumentation of one engine.

    Parameters
    ----------
    changed : callable
        ``changed()`` is called when ``is_on`` may have changed.
    debug : bool
        Whether tasks that change their inputs fail.
    """

    def __init__(self, name: str, slots: int, changed: Callable[[], None], debug: bool) -> None:
        self.stats = WorkerStats()
        self.groups: dict[str, FunctionStats] = {}  # measured durations, by the names of functions
        self._name = name
        self._slots = slots
        self._changed = changed
        self._debug = debug
        self.recorder: TaskStreamRecorder | None = None  # rows of the task stream, while the page has a viewer
        self._plugins = plugin_runner.watch_of_scheduler()  # of all schedulers
        self._worker_plugins: plugin_runner.PluginRunner | None = None
        self._has_joined = False
        self._measures = False
        self._lock = locks.Lock()

    @property
    def is_on(self) -> bool:
        """Whether the engine must report each call, not only failed ones."""
        return bool(self._measures or self._debug or self._plugins or self._worker_plugins)

    def begin_to_measure(self) -> None:
        """Count and measure all calls from now on, for a viewer."""
        self._measures = True
        self._changed()

    # ---------------------------------------------------------------- plugins

    def watch(self, plugin: plugin_runner.SchedulerPlugin) -> None:
        """Call a scheduler's plugin for all events from now on."""
        with self._lock:
            if self._plugins is None:
                self._plugins = plugin_runner.PluginRunner()
            self._plugins.add(plugin)
        self._changed()

    def watch_worker(self, plugin: plugin_runner.WorkerPlugin) -> None:
        """Call a worker's plugin for all events from now on."""
        with self._lock:
            if self._worker_plugins is None:
                self._worker_plugins = plugin_runner.PluginRunner()
            self._worker_plugins.add(plugin)
        self._changed()

    def joined(self, pid: int) -> None:
        """Tell plugins of the worker, when the engine starts."""
        if self._plugins is not None and not self._has_joined:
            self._has_joined = True
            self._plugins.post([plugin_runner.WorkerJoined(self._name, "", pid, self._slots)])

    def close(self) -> None:
        """Close the plugins after their last event."""
        for watch in (self._plugins, self._worker_plugins):
            if watch is not None:
                watch.close()

    def join(self) -> None:
        """Wait, after ``close``, for the last events."""
        for watch in (self._plugins, self._worker_plugins):
            if watch is not None:
                watch.join()

    # ---------------------------------------------------------------- calls

    def begins(self, work: WorkItem) -> None:
        """Take note that a call is about to be made."""
        if self._worker_plugins is not None:
            self._worker_plugins.post([plugin_runner.RunStarted(work.key, self._name)])
        work.begun_s = clocks.perf_counter()

    def check_inputs(self, work: WorkItem) -> None:
        """Let a call fail in debug mode if it changes values of its futures."""
        if self._debug and (shared := work.shared_inputs()):
            from futures_cluster.services.worker.input_checks import checked

            work.fn = checked(work.key, shared, work.fn)

    def ended(self, work: WorkItem, value: Any, error: BaseException | None) -> None:
        """Take note that a call has returned or raised, before its future is done."""
        key, function = work.key, work.function
        if error is not None:
            self.stats.add_failure(key, function, error)
        if not work.begun_s or not self.is_on:
            return
        duration_s = clocks.perf_counter() - work.begun_s
        size_bytes = 0 if error is not None else sizeof(value)
        self._measure(function, duration_s, error is not None)
        if (recorder := self.recorder) is not None:
            recorder.ended(work.slot, function, key, duration_s, size_bytes, error is not None)
        if self._plugins is not None:
            self._plugins.post(
                [plugin_runner.TaskFinished(key, function, self._name, duration_s, size_bytes)]
                if error is None
                else [plugin_runner.TaskFailed(key, function, self._name, duration_s)]
            )
        if self._worker_plugins is not None:
            self._worker_plugins.post(
                [plugin_runner.RunEnded(key, self._name, error is not None, duration_s, size_bytes)]
            )

    def _measure(self, function: str, duration_s: float, failed: bool) -> None:
        from futures_cluster.scheduler.records import FunctionStats

        with self._lock:
            group = self.groups.get(function)
            if group is None:
                group = self.groups[function] = FunctionStats(function)
            if failed:
                group.failed += 1
            else:
                group.measure(duration_s)
