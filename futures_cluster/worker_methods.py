"""What an executor tells of its workers, and does with them.

Covers: the methods that ask an engine about its workers and change their number, and those that show what happens.
Does not cover: submitting and data (``executor``), doing it (``engines``), the page itself (``status``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from futures_cluster import numbers
from futures_cluster.engines.base import Engine, Observed

if TYPE_CHECKING:
    from futures_cluster.future import Future
    from futures_cluster.services.output import Line


class WorkerMethods:
    """Part of ``Executor``: the number of workers, facts about them, the page, reports, output, explanations."""

    _engine: Engine

    def workers(self) -> dict[str, dict[str, Any]]:
        """Facts about the workers that are ready, by their names: pid, slots, tasks, results held."""
        return self._engine.workers()

    def scale(self, number: int) -> None:
        """Have so many worker processes from now on.

        Those that go take no more tasks, and hand over what only they hold; nothing is lost or run again.

        Raises
        ------
        NotSupported
            Where workers are not this executor's: threads, a cluster.
        """
        number = numbers.whole("number", number, 1, kind="a whole number of workers, at least one,")
        self._engine.scale(number, number)

    def adapt(self, minimum: int = 1, maximum: int | None = None) -> None:
        """Have as many worker processes as the work wants, until ``scale`` is called.

        Parameters
        ----------
        minimum, maximum : int
            Bounds; the default maximum is the number of workers there are to be now.

        Raises
        ------
        NotSupported
            As ``scale``.
        """
        maximum = self._engine.max_workers if maximum is None else maximum
        minimum = numbers.whole("minimum", minimum, 1)
        maximum = numbers.whole("maximum", maximum, minimum, kind="a whole number of at least `minimum`,")
        self._engine.scale(minimum, maximum)

    def restart_workers(self) -> None:
        """Put a fresh process in the place of each worker, one after another; returns when all have joined.

        Tasks that run end where they are. What a worker holds goes to others before it ends, so no result is lost and
        no task runs twice. The fresh processes import all modules again. ``worker-0~2`` takes the place of
        ``worker-0``, and tasks for the one may run on the other. On a cluster these are the workers of all clients. A
        Dask cluster computes again what its workers held.

        Raises
        ------
        NotSupported
            Where no worker processes can be restarted: threads, ``sync``, Ray, inside of tasks.
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

    def upload(self, path: str | os.PathLike[str]) -> None:
        """Let the workers of a cluster import a module, a package (a folder) or an archive (.zip, .whl).

        Workers on machines that see the same files need no upload: they get the folders of ``sys.path``.
        """
        self._engine.upload(os.fspath(path))

    @property
    def status_url(self) -> str:
        """The address of the status page: what runs where, live, for a browser.

        It is served from the first time that somebody asks for the address, on this machine only. On a cluster it is
        the scheduler's page.

        Raises
        ------
        NotSupported
            Where there is no scheduler to look at.
        """
        return self._observed().status_url()

    def _observed(self) -> Observed:
        if not isinstance(self._engine, Observed):
            from futures_cluster.errors import NotSupported

            raise NotSupported("this backend has no scheduler of ours to look at; use processes, threads or a cluster")
        return self._engine

    @contextmanager
    def report(self, path: str | os.PathLike[str], title: str = "") -> Iterator[None]:
        """Around a part of a program: what happened in it, as one HTML file to send to a colleague.

        The file has what the status page shows: tasks, workers, the task stream, transfers, a profile, failures and
        versions. It needs nothing else to be looked at, and holds no arguments and no results. It is written also when
        the part ends by an exception.

        Parameters
        ----------
        path : str or path
            Where to write it.
        title : str
            Stands above it.

        Raises
        ------
        NotSupported
            As ``status_url``.
        OSError
            When the file cannot be written.
        """
        from futures_cluster.status import report

        with self._observed().observe() as everything:
            try:
                yield
            finally:
                report.write(path, everything(), title)

    @contextmanager
    def output(self, function: Callable[[Line], object] | None = None) -> Iterator[None]:
        """While this lasts, what tasks print comes here, with the worker and the key of the task.

        Parameters
        ----------
        function : callable or None
            Called with each line (``worker``, ``key``, ``text``), in a thread; the last ones in the calling thread.
            Without it they are printed.

        Raises
        ------
        NotSupported
            As ``status_url``.
        """
        from futures_cluster.services import output

        with self._observed().listen() as fetch:
            listener = output.Listener(fetch, function or output.show)
            try:
                yield
            finally:
                listener.close()

    def explain(self, future: Future | str) -> str:
        """Why a task does not run, or how it stands with it, in words.

        Examples
        --------
        >>> from futures_cluster import Executor
        >>> with Executor(backend="sync") as ex:
        ...     ex.explain(ex.submit(pow, 2, 2))  # doctest: +ELLIPSIS
        "... has run: backend='sync' runs tasks when they are submitted"
        """
        key = future if isinstance(future, str) else future.key
        return "\n".join(self._engine.explain(key))
