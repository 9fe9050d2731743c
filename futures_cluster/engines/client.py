"""An engine over a client, of our own cluster or another one.

Covers: handing calls to a client; what a task can ask of the executor that runs it, and what it cannot.
Does not cover: clusters that an executor makes (``local``) or joins (``remote``).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from futures_cluster import errors
from futures_cluster.engines.base import EngineBase
from futures_cluster.engines.options import SubmitOptions
from futures_cluster.messages import Key, TaskOptions
from futures_cluster.wire.codec.exception_state import copied

if TYPE_CHECKING:
    from futures_cluster.services.client.client import Client
    from futures_cluster.services.client.graphs import Graph
    from futures_cluster.services.client.shared_objects import SharedObjectClient
    from futures_cluster.services.common.plugin_runner import SchedulerPlugin


def identity(value: Any) -> Any:
    """Return its argument: the function of scattered data."""
    return value


class ClientEngine(EngineBase):
    """An engine over a client; what is here needs no cluster of its own, so tasks use it as well."""

    client: Client
    supports_graphs = True

    def __init__(self, client: Client) -> None:
        self.client = client

    @property
    def max_workers(self) -> int:
        """See ``Engine``; a task does not know the workers."""
        return 1

    @property
    def slots(self) -> int:
        """See ``Engine``."""
        return 0

    @property
    def broken(self) -> BaseException | None:
        """See ``Engine``."""
        return self.client.broken

    @property
    def is_closed(self) -> bool:
        """See ``Engine``."""
        return self.client.closed is not None

    def submit(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], options: SubmitOptions
    ) -> Any:
        """See ``Engine``."""
        self._check()
        return self.client.submit(fn, args, kwargs, options.task, options.resolve, options.pure, options.key)

    def check_options(self, options: TaskOptions) -> None:
        """See ``Engine``; workers may come that offer more than those that are there."""

    def submit_graph(self, graph: Graph) -> dict[Key, Any]:
        """See ``Engine``."""
        self._check()
        return self.client.submit_graph(graph)

    def _check(self) -> None:
        """Say why nothing can be submitted."""
        if self.client.broken is not None:
            raise copied(self.client.broken)
        if self.client.forked:
            raise errors.ForkedExecutor(
                "this executor belongs to the task that has forked this process; a forked process makes its own "
                "Executor(), or leaves submitting to its parent"
            )

    def scatter(self, value: Any, options: SubmitOptions, replicas: int = 1) -> Any:
        """See ``Engine``; the data stays here or with the scheduler, and is never lost."""
        self._check()
        return self.client.submit(identity, (value,), {}, options.task, False, key=options.key, scatters=True)

    def future_of_key(self, key: Key) -> Any:
        """See ``Engine``."""
        return self.client.future_of_key(key)

    def shared(self) -> SharedObjectClient:
        """See ``Engine``."""
        return self.client.shared

    def watch(self, plugin: SchedulerPlugin) -> None:
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

    def restart_workers(self) -> None:
        """See ``Engine``."""
        raise errors.NotSupported("restart_workers() is for the program that made the executor")

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
        """Do nothing: in a task, the cluster belongs to another process and goes on."""

    def stop_workers(self, force: bool) -> None:
        """See ``Engine``."""
        raise errors.NotSupported("a task cannot stop the workers of the executor that runs it")
