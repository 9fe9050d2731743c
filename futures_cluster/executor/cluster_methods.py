"""The executor's methods about its workers, and observation.

They ask an engine about its workers, change their number, and show what happens. ``engines`` does the work, and
``status`` has the page.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from futures_cluster import numbers
from futures_cluster.config import check_writable
from futures_cluster.engines.base import Engine, Observed, how_it_ended
from futures_cluster.errors import NotSupported
from futures_cluster.future import Future

if TYPE_CHECKING:
    from futures_cluster.services.client.task_output import Line
    from futures_cluster.services.common.plugin_runner import SchedulerPlugin


class WorkerMethods:
    """Part of ``Executor``: methods about its workers, and observation."""

    _engine: Engine
    _default: Any
    _borrowed: bool

    def workers(self) -> dict[str, dict[str, Any]]:
        """Return facts about the workers that are ready.

        Returns
        -------
        dict
            For each worker's name a dict with its pid, slots, tasks and the number of its results.

        Examples
        --------
        >>> from futures_cluster import Executor
        >>> with Executor(backend="sync") as ex:
        ...     list(ex.workers())
        ['sync']
        """
        return self._engine.workers()

    def scale(self, number: int) -> None:
        """Set the number of worker processes.

        Workers being removed take no more tasks, and transfer the data that only they hold: no result is lost and no
        task runs again.

        Parameters
        ----------
        number : int
            Number of workers; at least 1.

        Raises
        ------
        NotSupported
            If the executor does not own its workers (threads, a cluster).
        TypeError, ValueError
            If ``number`` is not a positive integer.

        See Also
        --------
        adapt : Let the executor choose the number.
        """
        number = numbers.whole("number", number, 1, kind="a whole number of workers, at least one,")
        self._engine.scale(number, number)

    def adapt(self, minimum: int = 1, maximum: int | None = None) -> None:
        """Adapt the number of worker processes to the work until ``scale`` is called.

        Parameters
        ----------
        minimum : int
            Minimum number of workers.
        maximum : int or None
            Maximum number of workers. By default, the current target number.

        Raises
        ------
        NotSupported
            If the executor does not own its workers (threads, a cluster).
        TypeError, ValueError
            If a bound is not a positive integer, or ``maximum`` is below ``minimum``.

        See Also
        --------
        scale : Set a fixed number.
        """
        maximum = self._engine.max_workers if maximum is None else maximum
        minimum = numbers.whole("minimum", minimum, 1)
        maximum = numbers.whole("maximum", maximum, minimum, kind="a whole number of at least `minimum`,")
        self._engine.scale(minimum, maximum)

    def restart_workers(self) -> None:
        """Replace each worker by a fresh process, one after another.

        The call returns when all fresh processes have joined. Running tasks end where they are. A worker hands over its
        data before it ends, so no result is lost and no task runs twice. The fresh processes import all modules again.
        ``worker-0~2`` takes the place of ``worker-0``, and tasks for the one may run on the other. On a cluster this
        restarts the workers of all clients. A Dask cluster recomputes what its workers held.

        Raises
        ------
        NotSupported
            If no worker processes can be restarted: threads, ``sync``, Ray, inside tasks.
        RuntimeError
            If a fresh process does not become ready. The other workers go on.

        Examples
        --------
        >>> from futures_cluster import Executor
        >>> with Executor(1) as ex:
        ...     before = ex.submit(os.getpid).result()
        ...     ex.restart_workers()
        ...     ex.submit(os.getpid).result() == before
        False
        """
        self._engine.restart_workers()

    def terminate_workers(self) -> None:
        """Stop all workers now by SIGTERM; unfinished futures get ``WorkerDied``."""
        self._stop_workers(force=False)

    def kill_workers(self) -> None:
        """Stop all workers now by SIGKILL; unfinished futures get ``WorkerDied``."""
        self._stop_workers(force=True)

    def _stop_workers(self, force: bool) -> None:
        if self._borrowed:
            raise NotSupported("a task cannot stop the workers of the executor that runs it")
        if self._default is not None:
            self._default.close()
        self._engine.stop_workers(force)

    def upload(self, path: str | os.PathLike[str]) -> None:
        """Send a module or package to the workers of a cluster.

        Workers on machines that see the same files need no upload: they get the folders of ``sys.path``.

        Parameters
        ----------
        path : str or path
            A module (.py), a package (a folder) or an archive (.zip, .whl).

        Raises
        ------
        NotSupported
            If the backend does not support uploads.
        OSError
            If the file cannot be read.
        """
        os.stat(path)  # also where workers need no upload: a wrong path is an error everywhere
        self._engine.upload(os.fspath(path))

    @property
    def status_url(self) -> str:
        """Address of the live status page, for a browser.

        The page is served from the first use of this attribute, on this machine only. On a cluster it is the
        scheduler's page.

        Raises
        ------
        NotSupported
            If the backend has no scheduler to observe.
        """
        return self._observed().status_url()

    def _observed(self) -> Observed:
        if not isinstance(self._engine, Observed):
            raise NotSupported("status pages and reports need the processes, threads or cluster backend")
        return self._engine

    @contextmanager
    def report(self, path: str | os.PathLike[str], title: str = "") -> Iterator[None]:
        """Write a report on the code of a ``with`` block, as one HTML file.

        The file has the content of the status page: tasks, workers, the task stream, transfers, a profile, failures and
        versions. It needs no other files, and contains no arguments and no results. The executor writes it also if the
        block raises.

        Parameters
        ----------
        path : str or path
            File to write.
        title : str
            Title of the report.

        Yields
        ------
        None

        Raises
        ------
        NotSupported
            If the backend has no scheduler to observe.
        OSError
            If the file cannot be written; before the block if its folder does not exist or is not writable.

        See Also
        --------
        status_url : The same content while tasks run.
        """
        from futures_cluster.status import report

        check_writable(path)
        with self._observed().observe() as everything:
            try:
                yield
            finally:
                report.write(path, everything(), title)

    @contextmanager
    def output(self, function: Callable[[Line], object] | None = None) -> Iterator[None]:
        """Forward the output of tasks to this program during a ``with`` block.

        Parameters
        ----------
        function : callable or None
            Called with each line (``worker``, ``key``, ``text``), in a thread; with the last lines in the calling
            thread. By default each line is printed, with the worker and the key of the task.

        Yields
        ------
        None

        Raises
        ------
        NotSupported
            If the backend has no scheduler to observe.
        """
        from futures_cluster.services.client import task_output

        with (
            self._observed().listen() as fetch,
            closing(task_output.OutputListener(fetch, function or task_output.show)),
        ):
            yield

    def watch(self, plugin: SchedulerPlugin) -> None:
        """Tell a plugin about the events of this executor's scheduler from now on.

        Parameters
        ----------
        plugin : SchedulerPlugin
            Its methods are called with facts, in a separate thread.

        Raises
        ------
        NotSupported
            If this process has no scheduler.
        """
        self._engine.watch(plugin)

    def explain(self, future: Future[Any] | str) -> str:
        """Explain why a task is not running, or describe its state.

        Parameters
        ----------
        future : Future or str
            The future of the task, or its key.

        Returns
        -------
        str
            One or more lines of text.

        Examples
        --------
        >>> from futures_cluster import Executor
        >>> with Executor(backend="sync") as ex:
        ...     ex.explain(ex.with_options(key="four").submit(pow, 2, 2))
        "'four' has finished"
        """
        if not isinstance(future, str | Future):
            raise TypeError(f"explain takes a future of an Executor, or its key, not {future!r}")
        if isinstance(future, Future) and future.cancelled():  # a scheduler has forgotten the task
            return how_it_ended(future)
        return "\n".join(self._engine.explain(future if isinstance(future, str) else future.key))
