"""Where tasks run: one module for each engine, behind the protocol in ``base``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from futures_cluster.config import Config
from futures_cluster.engines.base import Engine

#: Addresses of schedulers begin with one of these and ``://``.
ADDRESSES = ("tcp", "tls", "unix", "zmq")


def make_engine(config: Config, make_future: Callable[[str, Any], Any]) -> Engine:
    """Return the engine that a backend names; imported only now.

    Raises
    ------
    ValueError
        For a backend that there is not.
    NotSupported
        When the package of that engine is not installed.
    """
    backend = config.backend
    if backend == "sync":
        from futures_cluster.engines.inprocess.sync import SyncEngine

        return SyncEngine(config, make_future)
    if backend == "threads":
        from futures_cluster.engines.inprocess import InProcessEngine

        return InProcessEngine(config, make_future)
    if backend == "processes":
        from futures_cluster.engines.local import LocalEngine

        return LocalEngine(config, make_future)
    if isinstance(backend, str) and backend.partition("://")[0] in ADDRESSES and "://" in backend:
        from futures_cluster.engines.remote import RemoteEngine

        return RemoteEngine(config, make_future)
    if _is_dask(backend):
        try:
            from futures_cluster.engines.external.dask import DaskEngine
        except ModuleNotFoundError as error:
            raise _not_installed(backend, "distributed") from error

        return DaskEngine(config, make_future)
    if isinstance(backend, str) and (backend == "ray" or backend.startswith("ray://")):
        try:
            from futures_cluster.engines.external.ray import RayEngine
        except ModuleNotFoundError as error:
            raise _not_installed(backend, "ray") from error

        return RayEngine(config, make_future)
    raise ValueError(
        f"there is no backend {backend!r}; choose 'processes', 'threads' or 'sync', "
        "or the address of a scheduler, like 'tcp://host:8786', 'dask://host:8786' or 'ray'"
    )


def _is_dask(backend: object) -> bool:
    """Return whether it is a Dask cluster's address or a ``distributed.Client``."""
    if isinstance(backend, str):
        return backend.startswith("dask://")
    return any(f"{cls.__module__}.{cls.__name__}" == "distributed.client.Client" for cls in type(backend).__mro__)


def _not_installed(backend: object, package: str) -> Exception:
    from futures_cluster.errors import NotSupported

    return NotSupported(f"backend={backend!r} needs a package that is not here: pip install {package}")
