"""Starting and ending worker processes, seen from the client's process.

Covers: workers by our own fork server, and by a multiprocessing context with the standard library's rules; how one
ended, in words. Does not cover: what a worker says over its connection (``service``), when to start one
(``worker_pool``), what it writes to stderr (``stderr``).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from typing import Any

from futures_cluster import errors
from futures_cluster.services.common import descriptors, system_limits
from futures_cluster.services.common.crash_journal import CrashJournal
from futures_cluster.services.common.worker_settings import LOST_CODE, WorkerSettings
from futures_cluster.services.launch import fork_server_main, orphans
from futures_cluster.services.launch.fork_server_process import ADVICE, Template, has_folder
from futures_cluster.services.launch.resource_tracker import TrackerDoor
from futures_cluster.services.launch.stderr import StderrRelay, StderrWriter

#: A program that is started as the template says within this time that it is one.
ANSWER_TIMEOUT_S = 15.0
#: A template that has closed its connection ends within this time.
EXIT_S = 0.5


def describe_exit(code: int | None) -> str:
    """Return how a process ended, in words.

    Examples
    --------
    >>> describe_exit(-9)
    'was killed by SIGKILL (signal 9; the kernel does this when memory runs out)'
    >>> describe_exit(3)
    'exited with code 3'
    >>> describe_exit(LOST_CODE)
    'lost its connection, as when a task closes files that it has not opened (os.closerange), and ended'
    """
    if code == LOST_CODE:
        return "lost its connection, as when a task closes files that it has not opened (os.closerange), and ended"
    if code is None:
        return "ended in an unknown way"
    if code >= 0:
        return f"exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        return f"was killed by signal {-code}"
    hint = "; the kernel does this when memory runs out" if -code == signal.SIGKILL else ""
    return f"was killed by {name} (signal {-code}{hint})"


def describe_failure(error: Exception) -> str:
    """Return why a worker could not be started, in words.

    Examples
    --------
    >>> describe_failure(OSError(24, "Too many open files"))
    'could not be started: Too many open files (the limit of descriptors is reached: close files, or raise `ulimit -n`)'
    """
    why = system_limits.in_words(error) if isinstance(error, OSError) else repr(error)
    return f"could not be started: {why}"


#: ``on_exit(name, code, how)``; see ``ForkServerLauncher``.
OnExit = Callable[[str, int | None, str], None]


class WorkerHandle:
    """A worker process from its start to its end."""

    def __init__(
        self, settings: WorkerSettings, loop: asyncio.AbstractEventLoop, writer: StderrWriter, tracker: TrackerDoor
    ) -> None:
        self.settings = settings
        self.name = settings.name
        self._tracker = tracker
        with contextlib.ExitStack() as made:  # closed again if there is no descriptor for the next
            self.connection, self.worker_end = descriptors.socketpair()
            made.callback(self.worker_end.close)
            made.callback(self.connection.close)
            self.stderr = StderrRelay(loop, writer)
            made.callback(self.stderr.close)
            self.crash_journal = CrashJournal() if hasattr(os, "memfd_create") else None
            made.pop_all()
        self.began_s = 0.0  # when its start began
        self.pid: int | None = None
        self.joined = False
        self.replaced = False  # another was started in its place, before it ended
        self.deliberate = ""  # why it was stopped, if it was
        self.ended = ""  # how, once it has
        self.cut_off = False  # its connection ended before it did
        self.process: Any = None  # of a multiprocessing context
        self.link: Any = None  # the connection, once there is a loop to read it

    @property
    def is_staying(self) -> bool:
        """Whether this worker runs tasks, or will when it is ready."""
        return not self.replaced and not self.deliberate

    def fds(self) -> list[int]:
        """Return the descriptors that the worker gets; see ``process.main``."""
        fds = [self.worker_end.fileno(), self.stderr.write_fd, self._tracker.theirs.fileno()]
        return fds if self.crash_journal is None else [*fds, self.crash_journal.fd]

    def handed_over(self) -> None:
        """Close our copies of the descriptors that the worker has."""
        self.worker_end.close()
        self.stderr.close_write()

    def close_client_end(self) -> None:
        """Close what belongs to the client in a forked copy, without touching its loop."""
        with contextlib.suppress(OSError):
            self.connection.close()

    def kill(self, force: bool = True) -> None:
        """Send SIGKILL, or SIGTERM; what its tasks have started ends as well.

        After ``os.setuid`` this process may signal a worker of its former user no longer; the worker ends when its
        connection does.
        """
        if self.pid is None:
            return
        number = signal.SIGKILL if force else signal.SIGTERM
        try:
            if self.process is None and orphans.available:  # the template sees to what it leaves
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, number)
            else:
                orphans.kill_with_descendants(self.pid, number)
        except PermissionError:
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give up all descriptors."""
        self.stderr.close()
        self.worker_end.close()
        if self.crash_journal is not None:
            self.crash_journal.close()
            self.crash_journal = None


class ForkServerLauncher:
    """Our own start: a template process forks workers. No ``__main__`` guard is needed.

    Parameters
    ----------
    on_exit : callable
        ``on_exit(name, code, how)`` on the loop when a worker has ended or could not be started; the code is negative
        for a signal, and ``how`` says in words what no code tells.
    on_hopeless : callable
        Called with a text when there can be no template. The workers that were to come end after that.
    environment : dict
        What the template has in its environment besides what this process has.
    template : Template or None
        The process, if it has been started already. There is another with the next worker, should it end.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_exit: OnExit,
        on_hopeless: Callable[[str], None],
        environment: dict[str, str],
        template: Template | None = None,
    ) -> None:
        self._loop = loop
        self._on_exit = on_exit
        self._on_hopeless = on_hopeless
        self._environment = environment
        self._template = template
        self._answers = False  # it has said that it is a template; until then it gets no requests
        self._is_template = False  # one of this program has said so before
        self._patience: asyncio.TimerHandle | None = None  # from when it is read
        self._ordered: list[WorkerHandle] = []  # once it answers
        self._handles: dict[str, WorkerHandle] = {}

    def start(self, handle: WorkerHandle) -> None:
        """Start the worker of a handle; on the loop's thread.

        Raises
        ------
        OSError
            If that is not possible now. The launcher does not know the handle then.
        """
        if self._template is None:
            try:
                self._template = Template(self._environment)
            except RuntimeError as error:
                self._on_hopeless(f"no more workers can be started: {error}")
                raise OSError(str(error)) from error
        self._handles[handle.name] = handle
        if self._patience is None:
            self._answers = False
            self._loop.add_reader(self._template.control.fileno(), self._read)
            self._patience = self._loop.call_later(
                ANSWER_TIMEOUT_S, self._lost, f"did not answer within {ANSWER_TIMEOUT_S:.0f} s"
            )
        self._ordered.append(handle)
        if self._answers:
            self._order()

    def _order(self) -> None:
        assert self._template is not None
        handles, self._ordered = self._ordered, []
        for handle in handles:
            try:
                fork_server_main.send(self._template.control, (handle.settings, len(handle.fds())), handle.fds())
            except (BrokenPipeError, ConnectionResetError):
                self._lost()
                return
            except OSError as error:  # too many descriptors are under way, or there is no memory: the template lives
                self._failed(handle.name, error)
            else:
                handle.handed_over()

    def _read(self) -> None:
        assert self._template is not None
        try:
            (kind, name, value), _ = fork_server_main.receive(self._template.control)
        except Exception:  # it is gone, or it is no template and says something else
            self._lost()
            return
        if kind == "template":
            self._answers = self._is_template = True
            if self._patience is not None:
                self._patience.cancel()
            self._order()
            return
        handle = self._handles.get(name)
        if handle is None:
            return
        if kind == "started":
            handle.pid = value
            if handle.deliberate:
                handle.kill()
        elif kind == "failed":
            self._failed(name, OSError(*value))
        else:
            del self._handles[name]
            handle.pid = None
            self._on_exit(name, value, "")

    def _failed(self, name: str, error: OSError) -> None:
        """Report that this worker has no process; others are not concerned."""
        del self._handles[name]
        self._on_exit(name, None, describe_failure(error))

    def _lost(self, how: str = "") -> None:
        """Report that the fork server is gone with its workers, or never was one."""
        template, self._template = self._template, None
        assert template is not None
        self._stop_reading(template)
        if not how:
            try:
                how = describe_exit(template.process.wait(EXIT_S))
            except subprocess.TimeoutExpired:
                how = "closed its connection"
        template.kill()
        if not self._is_template:
            program = f"{template.program!r}, which was started in order to start the workers,"
            self._on_hopeless(f"{program} {how}, and has not answered as a Python interpreter would. {ADVICE}")
        handles, self._handles, self._ordered = self._handles, {}, []
        for handle in handles.values():
            handle.kill()
            handle.pid = None
            handle.handed_over()
        for name in handles:
            self._on_exit(name, None, f"ended with the process that starts the workers: {how}")

    def _stop_reading(self, template: Template) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
            self._loop.remove_reader(template.control.fileno())

    async def close(self) -> None:
        """End the template."""
        template, self._template = self._template, None
        if template is not None:
            self._stop_reading(template)
            if not self._answers:
                template.kill()
            template.control.close()
            while template.process.poll() is None:  # it ends at once, as its control socket is closed
                await asyncio.sleep(0.001)


class InheritedFd:
    """A descriptor as an argument of a ``multiprocessing.Process``, for every start method."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __reduce__(self) -> tuple[Any, ...]:
        from multiprocessing import reduction

        return _received_fd, (reduction.DupFd(self.fd),)

    def take(self) -> int:
        """Return the descriptor, in the new process."""
        return self.fd


def _received_fd(duplicate: Any) -> InheritedFd:
    return InheritedFd(duplicate.detach())


def _process_main(
    settings: WorkerSettings, fds: list[InheritedFd], initializer: Any, initargs: tuple[Any, ...], forks: bool
) -> None:
    """Run a worker of multiprocessing; ``forks``: as a copy of another process."""
    from futures_cluster.services.worker import bootstrap  # the client itself can do without these
    from futures_cluster.services.worker import process as worker_process

    if forks:
        bootstrap.forget_exit_functions()
    # Where standard streams are closed, a descriptor that was received may have got the number of one.
    numbers = [descriptors.above_standard(fd.take()) for fd in fds]
    worker_process.main(settings, numbers, initializer, initargs)


#: Why a process of multiprocessing has ended before it became a worker.
_NOT_LOADED = (
    "{how} while multiprocessing imported the program in it, and multiprocessing wrote the reason to "
    "stderr. The usual one is a script without a guard: put the lines that use the executor under "
    '`if __name__ == "__main__":`, or leave mp_context out, because worker processes need no guard then'
)


class MultiprocessingLauncher:
    """Processes of a multiprocessing context: what only they can inherit (queues, locks) works.

    Parameters
    ----------
    on_exit, on_hopeless : callable
        As for ``ForkServerLauncher``.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_exit: OnExit,
        on_hopeless: Callable[[str], None],
        mp_context: Any,
        initializer: Any,
        initargs: tuple[Any, ...],
    ) -> None:
        import futures_cluster.services.worker.process  # noqa: F401  # before the first fork, so that workers need not

        self._loop = loop
        self._on_exit = on_exit
        self._on_hopeless = on_hopeless
        self._context = mp_context
        self._handles: dict[str, WorkerHandle] = {}
        self._has_loaded = False  # some process that has ended was a worker before
        self._initializer = initializer
        self._initargs = initargs
        self._forks = mp_context.get_start_method() in ("fork", "forkserver")

    def create(self, handle: WorkerHandle) -> None:
        """Start the process; from any thread."""
        fds = [InheritedFd(fd) for fd in handle.fds()]
        args = (handle.settings, fds, self._initializer, self._initargs, self._forks)
        process = self._context.Process(target=_process_main, args=args, daemon=False)
        try:
            process.start()
        except (ConnectionError, EOFError) as error:
            # From Python 3.14 on it is the fork server that imports the program.
            how = _NOT_LOADED.format(how="of multiprocessing, its fork server, ended")
            raise errors.InitializerFailed(f"no worker can start: the first process {how}") from error
        except FileNotFoundError as error:
            if has_folder():
                raise
            raise FileNotFoundError(
                error.errno,
                "the working folder of this process was deleted, and multiprocessing cannot start processes without "
                "one; call os.chdir with a folder that exists, or leave mp_context out",
            ) from error
        handle.process = process
        handle.pid = process.pid
        handle.handed_over()

    def start(self, handle: WorkerHandle) -> None:
        """Start the worker of a handle, unless ``create`` has; on the loop's thread."""
        if handle.process is None:
            self.create(handle)
        self._handles[handle.name] = handle
        self._loop.add_reader(handle.process.sentinel, self._ended, handle)

    def _ended(self, handle: WorkerHandle) -> None:
        self._loop.remove_reader(handle.process.sentinel)
        del self._handles[handle.name]
        handle.process.join()
        code = handle.process.exitcode
        handle.pid = None
        handle.process.close()
        how = ""
        handle.stderr.read()
        if handle.joined or handle.stderr.tail():  # a worker that exits with code 1 has said why
            self._has_loaded = True
        elif code == 1 and self._context.get_start_method() != "fork":
            how = _NOT_LOADED.format(how=f"exited with code {code}")
            if not self._has_loaded and not any(other.joined for other in self._handles.values()):
                self._on_hopeless(f"no worker can start: the first process {how}")
        self._on_exit(handle.name, code, how)

    async def close(self) -> None:
        """Do nothing: there is no process that starts others."""
