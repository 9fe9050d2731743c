"""The public executor: a ``concurrent.futures.Executor`` over an engine.

Covers how it is made, channels and shutdown. ``call_methods`` has the methods about calls (``submit``, ``map``),
``data_methods`` has ``scatter`` and ``gather``, ``cluster_methods`` the methods about workers and observation,
``dask_methods`` those for Dask's collections, ``display`` what notebooks show. ``engines`` runs the tasks, and
``pools`` has the classes with the standard library's signatures.
"""

from __future__ import annotations

import concurrent.futures
import functools
import warnings
import weakref
from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any, Self

from futures_cluster import context
from futures_cluster.config import make_config
from futures_cluster.engines import make_engine
from futures_cluster.engines.base import Engine
from futures_cluster.engines.options import SubmitOptions
from futures_cluster.executor.call_methods import CallMethods
from futures_cluster.executor.cluster_methods import WorkerMethods
from futures_cluster.executor.dask_methods import DaskMethods
from futures_cluster.executor.data_methods import DataMethods
from futures_cluster.executor.display import Display
from futures_cluster.future import Future

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext
    from types import TracebackType

    from futures_cluster.channels import Channel


class Executor(CallMethods, DaskMethods, WorkerMethods, Display, concurrent.futures.Executor):
    """Run calls on all cores of this machine, on threads, or on a cluster.

    Parameters
    ----------
    max_workers : int or None
        Number of worker processes (or threads). By default, one for each core that this process may use;
        with ``backend="threads"`` 4 more, at most 32.
    mp_context : multiprocessing context or None
        Context that starts the processes, with the standard library's rules. Without it scripts need no ``__main__``
        guard.
    initializer : callable or None
        Function that each worker calls once before its first task.
    initargs : tuple
        Arguments of ``initializer``.
    backend : str, distributed.Client or None
        ``"processes"``; ``"threads"`` (tasks share this process's memory); ``"sync"`` (each call runs at submit, for
        debuggers); or the address of a cluster: ``"tcp://host:8786"`` or ``"tls://..."`` for futures_cluster's own,
        ``"dask://host:8786"`` or a ``distributed.Client``, ``"ray"`` or ``"ray://host:10001"``. Default: the
        environment variable ``FUTURES_CLUSTER_BACKEND``, or processes.
    max_tasks_per_child : int or None
        Number of tasks after which the executor replaces a worker process.
    memory_limit : int or str or None
        Maximum memory of each worker, in bytes or like ``"2GB"``.
    threads_per_worker : int
        Number of tasks that each worker process runs at a time.
    thread_name_prefix : str
        Prefix of the names of threads, with ``backend="threads"``.
    resources : dict or None
        Amounts by name that each worker has for ``with_options(resources=...)``, such as ``{"GPU": 1}``. With
        ``backend="threads"`` each thread is a worker. ``Executor(4, resources={"api": 1})`` runs up to four tasks that
        take ``{"api": 1}`` at a time.
    limits : dict or None
        Amounts by name, above 0, that all workers share for ``with_options(limits=...)``, such as ``{"api": 3}``: the
        tasks that run at a time take no more than that together. On a cluster all clients share a limit; the first that
        declares it sets the number.
    resolve : bool
        Whether tasks get the values of futures in their arguments. If False, they get the futures.
    forward_logs : bool or None
        Whether worker processes forward log records and warnings of tasks to this process's loggers. None: processes of
        this machine forward records that no handler on the worker has taken. True: all workers forward all records,
        also from clusters. Default: the environment variable ``FUTURES_CLUSTER_FORWARD_LOGS`` (1 or 0), or None.
    insecure : bool
        Whether the executor may use a network address of a cluster without a secret: then any process that can reach it
        can run code. Default: the environment variable ``FUTURES_CLUSTER_INSECURE`` (1 or 0), or False.
    set_as_default : bool
        Whether this is Dask's default scheduler, and the executor of joblib's backend, until ``shutdown``.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or has the wrong type, or a limit has another number on this cluster.

    See Also
    --------
    ProcessPoolExecutor, ThreadPoolExecutor : The signatures of the standard library.
    current_executor : The executor inside a task.

    Examples
    --------
    >>> with Executor(backend="sync") as ex:
    ...     ex.submit(sum, ex.submit(list, range(10))).result()
    45
    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: BaseContext | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        backend: Any = None,
        max_tasks_per_child: int | None = None,
        memory_limit: int | str | None = None,
        threads_per_worker: int = 1,
        thread_name_prefix: str = "",
        resources: dict[str, float] | None = None,
        limits: dict[str, float] | None = None,
        resolve: bool = True,
        forward_logs: bool | None = None,
        insecure: bool = False,
        set_as_default: bool = False,
    ) -> None:
        context.load_adapters()
        config = make_config(
            max_workers,
            mp_context,
            initializer,
            initargs,
            backend=backend,
            max_tasks_per_child=max_tasks_per_child,
            memory_limit=memory_limit,
            threads_per_worker=threads_per_worker,
            thread_name_prefix=thread_name_prefix,
            resources=resources,
            limits=limits,
            resolve=resolve,
            forward_logs=forward_logs,
            insecure=insecure,
        )
        if backend is None and context.current_task() is not None:
            warnings.warn(
                "Executor() inside a task uses the executor that runs the task; "
                "write current_executor(), or name a backend for another one",
                stacklevel=2,
            )
            self._engine, self._options = context.current_executor()._engine, SubmitOptions()
            self._borrowed = True
            return
        engine = make_engine(config, Future)
        self._engine, self._options = engine, SubmitOptions(resolve=config.resolve)
        engine.lend_executor(functools.partial(_view, engine, self._options))
        # An executor that is dropped ends when its tasks are done, as the standard library's pools do.
        weakref.finalize(self, engine.shutdown, False, False).atexit = False
        if set_as_default:
            self._default = self.as_default()

    _default: Any = None
    _borrowed = False  # the executor of a task: the cluster belongs to another program, and goes on

    @property
    def _max_workers(self) -> int:
        return self._engine.max_workers

    @property
    def _broken(self) -> BaseException | None:
        return self._engine.broken

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # Code that copies the settings of an object (scikit-learn's clone) means the same workers.
        return self

    def __copy__(self) -> Self:
        return self

    def __reduce__(self) -> Any:
        raise TypeError(
            f"cannot pickle {self!r}: an executor belongs to the process that made it. A task gets the executor that "
            "runs it from current_executor(). When the executor is an attribute of an object whose method is the task, "
            "leave it out of the object's state (__getstate__), or submit a function that needs no such object"
        )

    def channel(self, name: str, maxlen: int | None = None) -> Channel[Any]:
        """Return the channel of this name, shared by all clients and tasks.

        Parameters
        ----------
        name : str
            Name of the channel, which is created if it does not exist.
        maxlen : int or None
            Maximum number of items in its buffer (10,000 by default); older items drop out of it.

        Returns
        -------
        Channel
            A handle of the channel.

        Raises
        ------
        SharedObjectError
            If the channel exists with another ``maxlen``.
        NotSupported
            If the backend has no channels.

        Examples
        --------
        >>> with Executor(backend="sync") as ex:
        ...     channel = ex.channel("squares")
        ...     channel.put(ex.submit(pow, 3, 2))
        ...     channel.close()
        ...     [future.result() for future in channel]
        [9]
        """
        from futures_cluster.channels import Channel

        return Channel(self, name, maxlen=maxlen)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Refuse new tasks, and stop the workers once all tasks are done.

        Parameters
        ----------
        wait : bool
            Whether to return only when the workers have stopped. The executor has fetched the results of live futures
            by then.
        cancel_futures : bool
            Whether to cancel the tasks that have not started.
        """
        if self._default is not None:
            self._default.close()
        if not self._borrowed:
            self._engine.shutdown(wait, cancel_futures)

    def __enter__(self) -> Self:
        context.load_adapters()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        if exc_type is KeyboardInterrupt and not self._borrowed:
            # A user who pressed Ctrl-C does not want to wait for running tasks.
            try:
                self._stop_workers(force=True)
            except NotImplementedError:
                self.shutdown(wait=True, cancel_futures=True)
            return
        self.shutdown(wait=True)


# Python's errors of wrong calls name the class that users know, not the part that has the method.
for _part in (CallMethods, DaskMethods, DataMethods, WorkerMethods):
    for _name, _method in vars(_part).items():
        if isinstance(_method, FunctionType):
            _method.__qualname__ = f"{Executor.__name__}.{_name}"


def _view(engine: Engine, options: SubmitOptions, borrowed: bool = True) -> Executor:
    """Return the executor of a task, over an engine that others have made."""
    view = Executor.__new__(Executor)
    view._engine, view._options, view._borrowed = engine, options, borrowed
    return view


def executor_in_task(client: Any) -> Executor:
    """Return the executor of a task in a worker (``services.worker.process``)."""
    from futures_cluster.engines.client import ClientEngine

    return _view(ClientEngine(client), SubmitOptions(), borrowed=False)


def executor_over(make_engine: Callable[[Any], Engine]) -> Executor:
    """Return the executor of a task on an external worker."""
    return _view(make_engine(Future), SubmitOptions())
