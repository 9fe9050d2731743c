"""What engines over other people's clusters have in common: an executor's questions, and what they refuse.

Covers: arguments and methods that mean nothing on a cluster of another owner. Does not cover: futures and results
(``external.client``), any engine.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from futures_cluster import errors
from futures_cluster.config import Config
from futures_cluster.engines.base import EngineBase, check_usable
from futures_cluster.engines.external.client import ClusterLink, ExternalClient
from futures_cluster.engines.options import SubmitOptions
from futures_cluster.messages import Key, TaskOptions

if TYPE_CHECKING:
    from futures_cluster.services.client.shared_objects import SharedObjectClient
    from futures_cluster.services.common.plugin_runner import SchedulerPlugin


class ExternalEngine(EngineBase):
    """An engine on an external cluster."""

    #: What arguments of ``Executor`` mean nothing here, and what to do instead.
    not_here: ClassVar[dict[str, str]] = {}
    #: Who is spoken of in messages.
    title = ""
    client: ExternalClient
    fetches_together = True

    def __init__(self, config: Config | None, make_future: Callable[[Key, Any], Any], link: ClusterLink) -> None:
        self.client = ExternalClient(uuid.uuid4().hex[:10], make_future, link)  # no other client has this name
        link.connect(self.client, listens=config is not None)

    @property
    def max_workers(self) -> int:
        """See ``Engine``."""
        return 1

    @property
    def broken(self) -> BaseException | None:
        """See ``Engine``."""
        return None

    @property
    def slots(self) -> int:
        """See ``Engine``."""
        return self.max_workers

    @property
    def is_closed(self) -> bool:
        """See ``Engine``."""
        return self.client.closing

    def _check_open(self) -> None:
        check_usable(self.client.forked, self.broken, self.client.closing or self.client.closed is not None)

    def check_options(self, options: TaskOptions) -> None:
        """Refuse what this engine cannot do. Raises NotSupported."""
        if options.backoff_s:
            raise errors.NotSupported(
                f"{self.title} runs tasks again without a wait; leave out backoff, or wait inside of the task"
            )
        if options.limits:
            raise errors.NotSupported(f"{self.title} has no limits; use with_options(resources=...)")

    def submit(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], options: SubmitOptions
    ) -> Any:
        """See ``Engine``."""
        self._check_open()
        self.check_options(options.task)
        return self.client.submit(fn, args, kwargs, options)

    def scatter(self, value: Any, options: SubmitOptions, replicas: int = 1) -> Any:
        """See ``Engine``."""
        self._check_open()
        return self.client.scatter(value, options)

    def future_of_key(self, key: Key) -> Any:
        """See ``Engine``."""
        return self.client.future_of_key(key)

    def shared(self) -> SharedObjectClient:
        """See ``Engine``."""
        raise errors.NotSupported(
            f"there are no channels or other shared objects on {self.title}; hand futures on as arguments or results, "
            "or use our own scheduler: backend='tcp://host:port'"
        )

    def watch(self, plugin: SchedulerPlugin) -> None:
        """See ``Engine``."""
        raise errors.NotSupported(f"the scheduler of {self.title} is not ours to watch; it has a dashboard of its own")

    def shutdown(self, wait: bool, cancel_futures: bool) -> None:
        """See ``Engine``; the cluster goes on."""
        if not self.client.forked:
            self.client.shutdown(wait, cancel_futures)

    def stop_workers(self, force: bool) -> None:
        """See ``Engine``."""
        raise errors.NotSupported(
            f"the workers of {self.title} are not this executor's to stop; use shutdown(cancel_futures=True)"
        )

    def scale(self, minimum: int, maximum: int) -> None:
        """See ``Engine``."""
        raise errors.NotSupported(f"the workers of {self.title} are started with the means of that cluster")

    def restart_workers(self) -> None:
        """See ``Engine``."""
        raise errors.NotSupported(f"the workers of {self.title} are restarted with the means of that cluster")

    def upload(self, path: str) -> None:
        """See ``Engine``."""
        raise errors.NotSupported(f"{self.title} has its own way to distribute code")

    def explain(self, key: Key) -> list[str]:
        """See ``Engine``."""
        return [self.client.explain(key)]
