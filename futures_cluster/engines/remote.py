"""The engine on a scheduler elsewhere: ``Executor(backend="tcp://host:8786")``.

Covers: what an executor asks of a cluster that no client owns. Does not cover: the connection
(``services.client.remote_cluster``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from futures_cluster import clocks, errors
from futures_cluster.config import Config
from futures_cluster.engines.base import check_arguments, check_limits, check_usable
from futures_cluster.engines.client import ClientEngine
from futures_cluster.engines.options import SubmitOptions
from futures_cluster.messages import DEFAULT_OPTIONS, Key, TaskOptions
from futures_cluster.services.client.remote_cluster import RemoteCluster, worker_command
from futures_cluster.services.common import security
from futures_cluster.services.common.reminders import Reminder, speak_if_due
from futures_cluster.wire.codec import pickle_codec
from futures_cluster.wire.codec.sizeof import sizeof

#: Between two looks whether a worker has come.
POLL_INTERVAL_S = 0.05

_NOT_HERE = {
    "mp_context": "workers of a cluster are started by: futures-cluster worker",
    "initializer": "start workers with --preload MODULE[:CLASS] instead",
    "max_tasks_per_child": "it is for workers on this machine",
    "memory_limit": "start workers with --memory-limit instead",
    "resources": "start workers with --resources instead; with_options(resources=...) works",
}


class RemoteEngine(ClientEngine):
    """Workers of a cluster that other programs use as well."""

    def __init__(self, config: Config, make_future: Callable[[str, Any], Any]) -> None:
        check_arguments(config, _NOT_HERE, f"with backend={config.backend!r}")
        self.cluster = RemoteCluster(
            config.backend,
            security.find(config.backend, insecure=config.insecure),
            make_future,
            config.forward_logs is True,
        )
        super().__init__(self.cluster.client)
        self._url = ""
        self._limits: dict[str, float] = {}  # that the cluster has, as far as is known
        if config.limits:
            try:
                self._declare(config.limits)
            except BaseException:
                self.cluster.shutdown(wait=True)
                raise

    def _declare(self, limits: dict[str, float]) -> None:
        """Declare limits: all, or none if one of them has another number on the cluster.

        Raises
        ------
        LimitError
            If the cluster has another number for one of them.
        """
        self._limits = dict(self.cluster.ask("limits", limits))
        for name, amount in limits.items():
            if self._limits.get(name, amount) != amount:
                raise errors.LimitError(
                    f"limits[{name!r}] is {amount:g} here, but {self._limits[name]:g} on the cluster, where it was "
                    "declared first; use that number, or another name"
                )

    @property
    def max_workers(self) -> int:
        """Tasks that run at a time, as far as this is known."""
        try:
            return sum(worker["slots"] for worker in self.workers().values())
        except (RuntimeError, errors.BrokenExecutor):
            return 0

    @property
    def slots(self) -> int:
        """See ``Engine``."""
        return self.max_workers

    @property
    def is_closed(self) -> bool:
        """See ``Engine``."""
        return self.cluster.closing and not self.client.forked

    def submit(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], options: SubmitOptions
    ) -> Any:
        """See ``Engine``."""
        if self.cluster.closing or self.client.broken is not None:
            self._check()
        if options.task is not DEFAULT_OPTIONS:
            self.check_options(options.task)
        return self.client.submit(fn, args, kwargs, options.task, options.resolve, options.pure, options.key)

    def check_options(self, options: TaskOptions) -> None:
        """See ``Engine``.

        Workers may come that offer more than those that are there, but limits do not change.
        """
        if any(name not in self._limits for name, _ in options.limits) and not self.cluster.is_on_loop:
            self._limits = dict(self.cluster.ask("limits", {}))
        if not self.cluster.is_on_loop:
            check_limits(options, self._limits)

    def scatter(self, value: Any, options: SubmitOptions, replicas: int = 1) -> Any:
        """See ``Engine``; what is small goes by way of the scheduler, and is never lost."""
        self._check()
        if sizeof(value) <= pickle_codec.INLINE_BYTES or self.cluster.is_on_loop:
            return super().scatter(value, options)
        return self.cluster.scatterer.scatter(value, options.key, options.task.workers, replicas)

    def _check(self) -> RemoteCluster:  # type: ignore[override]
        check_usable(self.client.forked, self.client.broken, self.cluster.closing)
        return self.cluster

    def workers(self) -> dict[str, dict[str, Any]]:
        """See ``Engine``."""
        facts: dict[str, dict[str, Any]] = self._check().ask("workers")
        return facts

    def count_tasks(self) -> tuple[int, int]:
        """See ``Engine``."""
        left = int(self._check().ask("unfinished", self.client.name))
        return self.client.submitted, max(left, self.client.count_pending())

    def wait_for_workers(self) -> list[str]:
        """See ``Engine``; more workers may come at any time, so one is enough."""
        reminder = Reminder(clocks.monotonic())
        while True:
            names = [name for name, facts in self.workers().items() if not facts["retiring"]]
            if names:
                return names
            speak_if_due(reminder, self._no_workers_sentence)
            clocks.sleep(POLL_INTERVAL_S)

    def _no_workers_sentence(self, seconds: float) -> str:
        address = self.cluster.address
        return (
            f"run() has waited {seconds:.0f} s for a worker; there is none at {address}. Start one with: "
            f"{worker_command(address, {}, [])}"
        )

    def shutdown(self, wait: bool, cancel_futures: bool) -> None:
        """See ``Engine``; the cluster goes on."""
        self.cluster.shutdown(wait, cancel_futures)

    def stop_workers(self, force: bool) -> None:
        """See ``Engine``."""
        raise errors.NotSupported(
            "the workers of a cluster are not this executor's to stop; cancel futures with cancel(force=True)"
        )

    def scale(self, minimum: int, maximum: int) -> None:
        """See ``Engine``."""
        raise errors.NotSupported(
            f"workers of a cluster are started where they run, by: futures-cluster worker {self.cluster.address}"
        )

    def restart_workers(self) -> None:
        """See ``Engine``."""
        self._check()
        with self.client.waiting_for_workers("restart_workers()"):
            self.cluster.ask("restart_workers", limit_s=None)

    def upload(self, path: str) -> None:
        """See ``Engine``."""
        self._check().upload(path)

    def status_url(self) -> str:
        """See ``Observed``."""
        self._url = str(self._check().ask("status_url"))
        return self._url

    @property
    def known_url(self) -> str:
        """See ``Observed``."""
        return self._url

    @contextmanager
    def observe(self) -> Iterator[Callable[[], dict[str, Any]]]:
        """See ``Observed``."""
        since = self._check().ask("observe", "all")

        def everything() -> dict[str, Any]:
            self._ask_workers()
            return dict(self.cluster.ask("observed", since))

        try:
            yield everything
        finally:
            self.cluster.ask("observe", "")

    @contextmanager
    def listen(self) -> Iterator[Callable[[bool], list[Any]]]:
        """See ``Observed``."""
        since, _ = self._check().ask("output", -1)

        def fetch(last: bool) -> list[Any]:
            nonlocal since
            if last:
                self._ask_workers()
            since, rows = self.cluster.ask("output", since)
            return list(rows)

        self.cluster.ask("observe", "output")
        try:
            self._ask_workers()  # they listen from now on
            yield fetch
        finally:
            self.cluster.ask("observe", "")

    def _ask_workers(self) -> None:
        """Have all workers report, and wait for it a little."""
        self.cluster.ask("observe_now")

    def explain(self, key: Key) -> list[str]:
        """See ``Engine``."""
        return list(self._check().ask("explain", key))
