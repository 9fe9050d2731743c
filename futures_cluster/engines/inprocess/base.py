"""What the two engines of this process have in common: each is the client of its futures and of shared objects.

Covers: making futures and their keys, futures among arguments, shared objects, the executor of tasks. Does not cover:
executing calls (``engine``, ``sync``).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from futures_cluster import messages as m
from futures_cluster.config import Config
from futures_cluster.engines.base import EngineBase, check_demand, check_limits
from futures_cluster.engines.options import SubmitOptions
from futures_cluster.messages import Key, TaskOptions
from futures_cluster.services.client.call_preparation import (
    check_free,
    check_shareable,
    find_equal,
    pure_key_of_objects,
)
from futures_cluster.services.client.function_table import function_name
from futures_cluster.services.client.shared_objects import LocalObjects, SharedObjectClient
from futures_cluster.services.common.signals import DeferredSignals
from futures_cluster.wire.codec import arguments
from futures_cluster.wire.codec.object_codec import ObjectCodec

if TYPE_CHECKING:
    from futures_cluster.services.common.protocols import ClientFuture


class InProcessBase(EngineBase):
    """An engine whose tasks get the caller's own objects.

    Attributes
    ----------
    name : str
        What log records of its tasks call the worker.
    worker : str
        What users call it.
    owner : str
        Part of keys: no other engine of this process makes the same.
    """

    shares_memory = True
    can_stop_tasks = False
    forked = False
    leader: Any = None
    closed: BaseException | None = None  # results are here whatever has ended
    name = worker = owner = ""
    _numbers: Iterator[int]

    def __init__(self, config: Config, make_future: Callable[[Any, Any], Any]) -> None:
        self.broken: BaseException | None = None
        self.closing = False
        self.codec = ObjectCodec()
        self.shared_port = SharedObjectClient(self)
        self._config = config
        self._make_future = make_future
        self._objects = LocalObjects(self.name)
        self._keyed: weakref.WeakValueDictionary[Key, Any] = weakref.WeakValueDictionary()
        self._find_executor: Callable[[], Any] = lambda: None

    @property
    def is_closed(self) -> bool:
        """See ``Engine``."""
        return self.closing

    def check_options(self, options: TaskOptions) -> None:
        """See ``Engine``."""
        check_limits(options, self._config.limits)
        check_demand(options, self._config.resources, [self.worker])

    def upload(self, path: str) -> None:
        """See ``Engine``; there is no process to send it to."""

    # ---------------------------------------------------------------- futures and their keys

    def _future_of_call(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], options: SubmitOptions
    ) -> tuple[Any, bool]:
        """Return the future of a call, and whether it is new: equal pure calls have one."""
        key = options.key
        if key is None and options.pure:
            key = pure_key_of_objects(fn, args, kwargs)
            known = find_equal(key, self._keyed)
            if known is not None:
                return known, False
        elif key is not None:
            check_free(key, self._keyed)
        future = self._make_future(key, self)
        future._number = next(self._numbers)
        future._function_name = getattr(fn, "__qualname__", None) or function_name(fn)
        if key is not None:
            self._keyed[key] = future
        return future, True

    def name_future(self, future: ClientFuture) -> Key:
        """Make the key of a future, by which it can be found from now on."""
        name = future._function_name.rpartition("<locals>.")[2]
        key = f"{name}-{self.owner}-{future._number}"
        self._keyed[key] = future
        return key

    def future_of_key(self, key: Key) -> Any:
        """See ``Engine``."""
        return self._keyed[key]

    def release(self, key: Key, at_once: bool) -> None:
        """Do nothing: no other process holds a result."""

    def _replaceable(self, found: arguments.Found) -> list[Any]:
        """Return the futures among arguments whose values the call gets.

        They are released, or of this engine.
        """
        references: list[Any] = list(found.references.values())
        return [each for each in references if each._client is self or (each._client is None and each.key)]

    # ---------------------------------------------------------------- shared objects

    def futures_of_keys(self, keys: list[Key]) -> dict[Key, Any]:
        """Return the futures, which the shared object keeps alive."""
        return {key: self._keyed[key] for key in keys}

    def share(self, future: ClientFuture) -> None:
        """Take note that a future goes into a shared object."""
        check_shareable(future, self)

    def send(self, message: m.Message) -> None:
        """Do what a scheduler would for shared objects."""
        with DeferredSignals():
            self._objects.handle(message, self.shared_port.deliver)

    def about_to_wait(self) -> None:
        """Do nothing: there is nothing to hurry."""

    # ---------------------------------------------------------------- for tasks (``context.TaskHost``)

    def lend_executor(self, find: Callable[[], Any]) -> None:
        """See ``Engine``."""
        self._find_executor = find

    def executor(self) -> Any:
        """See ``context.TaskHost``."""
        return self._find_executor()
