"""Where tasks run: one module for each engine, behind the protocol in ``base``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from futures_cluster.config import Config
from futures_cluster.engines.base import Engine

#: Addresses of schedulers begin with one of these and ``://``.
ADDRESSES = ("tcp", "tls", "unix", "zmq")


def make_engine(config: Config, make_future: Callable[[str, Any], Any]) -> Engine:
    """The engine that a backend names; imported only now.

    Raises
    ------
    ValueError
        For a backend that there is not.
    """
    backend = config.backend
    if backend == "sync":
        from futures_cluster.engines.sync import SyncEngine

        return SyncEngine(config, make_future)
    if backend in ("processes", "threads"):
        from futures_cluster.engines.native import NativeEngine

        return NativeEngine(config, make_future)
    if isinstance(backend, str) and backend.partition("://")[0] in ADDRESSES and "://" in backend:
        from futures_cluster.engines.remote import RemoteEngine

        return RemoteEngine(config, make_future)
    raise ValueError(
        f"there is no backend {backend!r}; choose 'processes', 'threads' or 'sync', "
        "or the address of a scheduler, like 'tcp://host:8786'"
    )
