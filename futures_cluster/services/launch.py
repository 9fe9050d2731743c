"""Starting and ending worker processes, seen from the client's process.

Covers: workers by our own fork server, and by a multiprocessing context with the standard library's rules; the end
of what a worker wrote to stderr; how it ended, in words.
Does not cover: what a worker says over its connection (``scheduler``), when to start one (``local``).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from futures_cluster.services import forkserver
from futures_cluster.services.blackbox import BlackBox
from futures_cluster.services.settings import WorkerSettings
from futures_cluster.services.template import Template

#: So much of a worker's stderr is shown when it dies.
STDERR_TAIL_BYTES = 8192


def describe_exit(code: int | None) -> str:
    """How a process ended, in words.

    Examples
    --------
    >>> describe_exit(-9)
    'killed by signal 9 (SIGKILL; the kernel does this when memory runs out)'
    >>> describe_exit(3)
    'exited with code 3'
    """
    if code is None:
        return "ended in an unknown way"
    if code >= 0:
        return f"exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    hint = "; the kernel does this when memory runs out" if -code == signal.SIGKILL else ""
    return f"killed by signal {-code} ({name}{hint})"


class StderrRelay:
    """Passes on what a worker writes to stderr, and keeps the end of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._read_fd, self.write_fd = os.pipe()
        os.set_blocking(self._read_fd, False)
        self._tail: deque[bytes] = deque()
        self._kept = 0
        self._open = True

    def start(self) -> None:
        """Begin to read; on the loop's thread."""
        self._loop.add_reader(self._read_fd, self.read)

    def close_write(self) -> None:
        """The worker has its own descriptor by now."""
        if self.write_fd >= 0:
            os.close(self.write_fd)
            self.write_fd = -1

    def read(self) -> None:
        """Take all there is."""
        while self._open:
            try:
                data = os.read(self._read_fd, 65536)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.close()
                return
            with contextlib.suppress(OSError):
                os.write(2, data)
            self._tail.append(data)
            self._kept += len(data)
            while self._kept - len(self._tail[0]) >= STDERR_TAIL_BYTES:
                self._kept -= len(self._tail.popleft())

    def tail(self) -> str:
        """The end of what was written."""
        return b"".join(self._tail)[-STDERR_TAIL_BYTES:].decode(errors="replace").strip()

    def close(self) -> None:
        """Stop reading."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._read_fd)
            os.close(self._read_fd)
        self.close_write()


class WorkerHandle:
    """A worker process from its start to its end."""

    def __init__(self, settings: WorkerSettings, loop: asyncio.AbstractEventLoop) -> None:
        self.settings = settings
        self.name = settings.name
        self.connection, self.worker_end = socket.socketpair()
        self.stderr = StderrRelay(loop)
        self.blackbox = BlackBox() if hasattr(os, "memfd_create") else None
        self.pid: int | None = None
        self.joined = False
        self.replaced = False  # another was started in its place, before it ended
        self.deliberate = ""  # why it was stopped, if it was
        self.process: Any = None  # of a multiprocessing context
        self.link: Any = None  # the connection, once there is a loop to read it

    def fds(self) -> list[int]:
        """The descriptors that the worker gets."""
        fds = [self.worker_end.fileno(), self.stderr.write_fd]
        return fds if self.blackbox is None else [*fds, self.blackbox.fd]

    def handed_over(self) -> None:
        """The worker has its descriptors; ours are not needed."""
        self.worker_end.close()
        self.stderr.close_write()

    def close_client_end(self) -> None:
        """In a forked copy of this process: close what belongs to the client, without touching its loop."""
        with contextlib.suppress(OSError):
            self.connection.close()

    def kill(self, force: bool = True) -> None:
        """Send SIGKILL, or SIGTERM."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL if force else signal.SIGTERM)

    def close(self) -> None:
        """Give up all descriptors."""
        self.stderr.close()
        self.worker_end.close()
        if self.blackbox is not None:
            self.blackbox.close()
            self.blackbox = None


class Launcher(Protocol):
    """Starts workers."""

    def start(self, handle: WorkerHandle) -> None:
        """Start the worker of a handle; on the loop's thread."""

    async def close(self) -> None:
        """End whatever serves to start workers."""


class ForkServer:
    """Our own start: a template process forks workers. No ``__main__`` guard is needed.

    Parameters
    ----------
    on_exit : callable
        ``on_exit(name, code)`` on the loop when a worker has ended; the code is negative for a signal.
    template : Template
        The process; should it end, another is started with the next worker.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_exit: Callable[[str, int | None], None], template: Template
    ) -> None:
        self._loop = loop
        self._on_exit = on_exit
        self._template = template
        self._is_lost = False
        self._handles: dict[str, WorkerHandle] = {}

    def start(self, handle: WorkerHandle) -> None:
        """See ``Launcher``."""
        if self._is_lost:
            self._template, self._is_lost = Template(self._template.environment), False
        if not self._handles:
            self._loop.add_reader(self._template.control.fileno(), self._read)
        self._handles[handle.name] = handle
        try:
            forkserver.send(self._template.control, (handle.settings,), handle.fds())
        except OSError:
            self._lost()
        handle.handed_over()

    def _read(self) -> None:
        try:
            (kind, name, number), _ = forkserver.receive(self._template.control)
        except (EOFError, OSError):
            self._lost()
            return
        handle = self._handles.get(name)
        if handle is None:
            return
        if kind == "started":
            handle.pid = number
            if handle.deliberate:
                handle.kill()
        else:
            del self._handles[name]
            handle.pid = None
            self._on_exit(name, number)

    def _lost(self) -> None:
        """The template is gone, and its workers with it."""
        self._is_lost = True
        self._stop_reading()
        handles, self._handles = self._handles, {}
        for handle in handles.values():
            handle.kill()
            handle.pid = None
        self._template.kill()
        for name in handles:
            self._on_exit(name, None)

    def _stop_reading(self) -> None:
        with contextlib.suppress(ValueError):
            self._loop.remove_reader(self._template.control.fileno())

    async def close(self) -> None:
        """See ``Launcher``."""
        if not self._is_lost:
            self._stop_reading()
            self._template.control.close()
            while self._template.process.poll() is None:  # it ends at once, as its control socket is closed
                await asyncio.sleep(0.001)


class InheritedFd:
    """A descriptor as an argument of a ``multiprocessing.Process``, for every start method."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __reduce__(self) -> tuple[Any, ...]:
        from multiprocessing import reduction

        return _received_fd, (reduction.DupFd(self.fd),)

    def take(self) -> int:
        """The descriptor, in the new process."""
        return self.fd


def _received_fd(duplicate: Any) -> InheritedFd:
    return InheritedFd(duplicate.detach())


def _process_main(
    settings: WorkerSettings, fds: list[InheritedFd], initializer: Any, initargs: tuple[Any, ...]
) -> None:
    """The body of a worker that multiprocessing started."""
    from futures_cluster.services import worker_process  # the client itself can do without

    numbers = [fd.take() for fd in fds]
    connection = socket.socket(fileno=numbers[0])
    worker_process.main(
        settings, connection, numbers[1], numbers[2] if len(numbers) > 2 else None, initializer, initargs
    )


class MultiprocessingLauncher:
    """Processes of a multiprocessing context: what only they can inherit (queues, locks) works."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_exit: Callable[[str, int | None], None],
        mp_context: Any,
        initializer: Any,
        initargs: tuple[Any, ...],
    ) -> None:
        import futures_cluster.services.worker_process  # noqa: F401  # before the first fork, so that workers need not

        self._loop = loop
        self._on_exit = on_exit
        self._context = mp_context
        self._initializer = initializer
        self._initargs = initargs

    def create(self, handle: WorkerHandle) -> None:
        """Start the process; from any thread."""
        fds = [InheritedFd(fd) for fd in handle.fds()]
        handle.process = self._context.Process(
            target=_process_main, args=(handle.settings, fds, self._initializer, self._initargs), daemon=False
        )
        handle.process.start()
        handle.pid = handle.process.pid
        handle.handed_over()

    def start(self, handle: WorkerHandle) -> None:
        """See ``Launcher``."""
        if handle.process is None:
            self.create(handle)
        self._loop.add_reader(handle.process.sentinel, self._ended, handle)

    def _ended(self, handle: WorkerHandle) -> None:
        self._loop.remove_reader(handle.process.sentinel)
        handle.process.join()
        code = handle.process.exitcode
        handle.pid = None
        handle.process.close()
        self._on_exit(handle.name, code)

    async def close(self) -> None:
        """See ``Launcher``."""
