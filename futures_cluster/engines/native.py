"""The engine on our own scheduler and workers: processes, threads, and (in a task) the cluster that runs it.

Covers: handing calls to a client. Does not cover: the cluster itself (``services.local``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from futures_cluster import errors
from futures_cluster.config import Config
from futures_cluster.engines.base import check_demand
from futures_cluster.engines.options import SubmitOptions
from futures_cluster.messages import Key
from futures_cluster.services.client import Client
from futures_cluster.services.graphs import Graph
from futures_cluster.services.lifetime import interpreter_exits
from futures_cluster.services.local import LocalCluster
from futures_cluster.wire import sockets


def identity(value: Any) -> Any:
    """The task of scattered data."""
    return value


class ClientEngine:
    """An engine over a client; what is here needs no cluster of its own, so tasks use it as well."""

    max_workers = 1

    def __init__(self, client: Client) -> None:
        self.client = client

    @property
    def broken(self) -> BaseException | None:
        """See ``Engine``."""
        return self.client.broken

    def submit(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], options: SubmitOptions
    ) -> Any:
        """See ``Engine``."""
        self._check()
        return self.client.submit(fn, args, kwargs, options.task, options.resolve, options.pure, options.key)

    def submit_graph(self, graph: Graph) -> dict[Key, Any]:
        """Submit tasks that need each other; the futures of those that are wanted."""
        self._check()
        return self.client.submit_graph(graph)

    def count_tasks(self) -> tuple[int, int]:
        """See ``Engine``; a task does not see more than what it waits for."""
        return self.client.submitted, self.client.count_pending()

    def _check(self) -> None:
        """Say why nothing can be submitted."""
        if self.client.broken is not None:
            raise self.client.broken

    def scatter(self, value: Any, options: SubmitOptions, replicas: int = 1) -> Any:
        """See ``Engine``; the data stays with the scheduler, or in the client's shared memory: it cannot be lost."""
        return self.submit(identity, (value,), {}, SubmitOptions(options.task, resolve=False, key=options.key))

    def future_of_key(self, key: Key) -> Any:
        """See ``Engine``."""
        return self.client.adopt(key)

    def shared(self) -> Any:
        """See ``Engine``."""
        return self.client.shared

    def watch(self, plugin: Any) -> None:
        """See ``Engine``."""
        raise errors.NotSupported("the program that made the executor can watch it, or a plugin of the scheduler's own")

    def workers(self) -> dict[str, dict[str, Any]]:
        """See ``Engine``."""
        raise errors.NotSupported("workers() is only known to the program that made the executor")

    def wait_for_workers(self) -> list[str]:
        """See ``Engine``."""
        raise errors.NotSupported("run() is for the program that made the executor; a task submits tasks")

    def scale(self, minimum: int, maximum: int) -> None:
        """See ``Engine``."""
        raise errors.NotSupported("scale() and adapt() are for the program that made the executor")

    def upload(self, path: str) -> None:
        """See ``Engine``."""
        raise errors.NotSupported("upload() is for the program that made the executor")

    def status_url(self) -> str:
        """See ``Observed``."""
        raise errors.NotSupported("the status page is known to the program that made the executor")

    @property
    def known_url(self) -> str:
        """See ``Observed``."""
        return ""

    def observe(self) -> AbstractContextManager[Callable[[], dict[str, Any]]]:
        """See ``Observed``."""
        raise errors.NotSupported("report() is for the program that made the executor")

    def listen(self) -> AbstractContextManager[Callable[[bool], list[Any]]]:
        """See ``Observed``."""
        raise errors.NotSupported("output() is for the program that made the executor")

    def explain(self, key: Key) -> list[str]:
        """See ``Engine``."""
        raise errors.NotSupported("explain() is for the program that made the executor")

    def shutdown(self, wait: bool, cancel_futures: bool) -> None:
        """In a task: the cluster belongs to somebody else and goes on."""

    def stop_workers(self, force: bool) -> None:
        """See ``Engine``."""
        raise errors.NotSupported("a task cannot stop the workers of the executor that runs it")


class NativeEngine(ClientEngine):
    """Processes or threads on this machine."""

    def __init__(self, config: Config, make_future: Callable[[str, Any], Any]) -> None:
        if config.backend == "threads":
            if config.mp_context is not None:
                raise errors.NotSupported("mp_context is for processes; leave it out with backend='threads'")
            if config.max_tasks_per_child is not None:
                raise errors.NotSupported("max_tasks_per_child is for processes; threads are not replaced")
            if config.memory_limit is not None:
                raise errors.NotSupported("memory_limit is for processes; threads share this process's memory")
        elif not sockets.available:
            raise errors.NotSupported(
                "worker processes need unix sockets, which this system lacks; use backend='threads'"
            )
        self.cluster = LocalCluster(config, make_future)
        super().__init__(self.cluster.client)
        self._started = False
        self.client.can_stop_tasks = config.backend != "threads"

    @property
    def max_workers(self) -> int:  # type: ignore[override]
        """See ``Engine``."""
        return self.cluster.scaling.number

    def submit(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], options: SubmitOptions
    ) -> Any:
        """See ``Engine``."""
        client, cluster = self.client, self.cluster
        if cluster.closing or not self._started or client.broken is not None or cluster.forked:
            self._check()
        if options.task.resources or options.task.workers:
            known = ["threads"] if cluster.threads else list(cluster.processes.handles)
            check_demand(options.task, cluster.config.resources, known)
        return client.submit(fn, args, kwargs, options.task, options.resolve, options.pure, options.key)

    def shared(self) -> Any:
        """See ``Engine``."""
        self._check()
        return self.client.shared

    def _check(self) -> None:
        """Start when first used; otherwise say why nothing can be submitted."""
        cluster = self.cluster
        if cluster.forked:
            raise errors.ForkedExecutor(
                "this executor belongs to the parent of this process; a forked process makes its own Executor()"
            )
        if self.client.broken is not None:
            raise self.client.broken
        if interpreter_exits():
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")
        if cluster.closing:
            raise RuntimeError("cannot schedule new futures after shutdown")
        cluster.start()
        self._started = True

    def watch(self, plugin: Any) -> None:
        """See ``Engine``."""
        if self.cluster.closing:
            raise RuntimeError("cannot watch an executor after shutdown")
        self.cluster.scheduler.watch(plugin)

    def workers(self) -> dict[str, dict[str, Any]]:
        """See ``Engine``."""
        self._check()
        facts = {}
        for name, worker in list(self.cluster.scheduler.machine.state.workers.items()):
            facts[name] = {
                "pid": worker.pid,
                "slots": worker.slots,
                "tasks": len(worker.assigned),
                "results": len(worker.data),
                "resources": dict(worker.resources),
            }
        return facts

    def count_tasks(self) -> tuple[int, int]:
        """See ``Engine``."""
        state = self.cluster.scheduler.machine.state
        left = state.queued + state.counts["waiting"] + sum(len(each.assigned) for each in list(state.workers.values()))
        return self.client.submitted, max(left, self.client.count_pending())

    def wait_for_workers(self) -> list[str]:
        """See ``Engine``."""
        self._check()
        while True:
            if self.client.broken is not None:
                raise self.client.broken
            joined = [name for name in self.workers() if self.cluster.is_ready(name)]
            if len(joined) >= (1 if self.cluster.threads else self.max_workers):
                return joined
            time.sleep(0.002)

    def shutdown(self, wait: bool, cancel_futures: bool) -> None:
        """See ``Engine``."""
        if not self.cluster.forked:
            self.cluster.shutdown(wait, cancel_futures)

    def stop_workers(self, force: bool) -> None:
        """See ``Engine``."""
        if self.cluster.threads:
            raise errors.NotSupported("threads cannot be stopped; use shutdown(cancel_futures=True)")
        self.cluster.shutdown(True, cancel_futures=False, kill=force)

    def scale(self, minimum: int, maximum: int) -> None:
        """See ``Engine``."""
        if self.cluster.threads:
            raise errors.NotSupported("the threads of an executor are fixed; make another one with more max_workers")
        self._check()
        self.cluster.scale(minimum, maximum)

    def upload(self, path: str) -> None:
        """See ``Engine``; workers of this machine read the files where they are."""

    @contextmanager
    def listen(self) -> Iterator[Callable[[bool], list[Any]]]:
        """See ``Observed``."""
        self._check()
        with self.cluster.listen() as fetch:
            yield fetch

    def status_url(self) -> str:
        """See ``Observed``."""
        self._check()
        return self.cluster.status_url()

    @property
    def known_url(self) -> str:
        """See ``Observed``."""
        return self.cluster.known_url

    @contextmanager
    def observe(self) -> Iterator[Callable[[], dict[str, Any]]]:
        """See ``Observed``."""
        self._check()
        with self.cluster.observe() as everything:
            yield everything

    def explain(self, key: Key) -> list[str]:
        """See ``Engine``."""
        self._check()
        return self.cluster.explain(key)
