"""The template of worker processes: a small process that forks a worker whenever it is asked to.

Covers: forking, telling the exit status, and killing all workers when the client is gone, however it went; the form
in which a frozen program gets here.
Does not cover: what workers do (``process``), what their tasks have started (``orphans``), and the client's side
(``launchers``).

Why not a new interpreter for each worker: a fork of a process that has imported everything takes a few
milliseconds instead of a hundred, also when a worker is replaced. Why not fork the client: it has threads, and its
``__main__`` would come along. This process has one thread, runs no user's code, and so always reacts at once: the
end of the file on its control socket means that the client has died.

On the socket go pickles with their length before them: ``(WorkerSettings, number)`` with that number of descriptors to
this process, ``("started", name, pid)`` and ``("exited", name, status)`` back, or ``("failed", name, (errno, text))``
if there is no process or no descriptor for the worker now. The first word is this process's ``("template", "", pid)``,
by which the client knows that what it started is a template.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import pickle
import selectors
import shutil
import signal
import socket
import struct
import sys
from typing import Any

from futures_cluster import config
from futures_cluster.services.common.wake_pipe import WakePipe
from futures_cluster.services.launch.orphans import Orphans, prctl

LENGTH = struct.Struct("<I")
_SET_PDEATHSIG = 1


def send(sock: socket.socket, value: Any, fds: list[int]) -> None:
    """Send a value, and descriptors with its first bytes."""
    data = pickle.dumps(value)
    data = LENGTH.pack(len(data)) + data
    sent = socket.send_fds(sock, [data], fds) if fds else sock.send(data)
    while sent < len(data):
        sent += sock.send(data[sent:])


def receive(sock: socket.socket) -> tuple[Any, list[int]]:
    """Receive a value and its descriptors.

    Raises
    ------
    EOFError
        When the other side has closed.
    """
    head, fds, _, _ = socket.recv_fds(sock, LENGTH.size, 16)
    for fd in fds:
        os.set_inheritable(fd, False)  # programs that tasks start do not get them
    (length,) = LENGTH.unpack(_receive_rest(sock, head, LENGTH.size))
    return pickle.loads(_receive_rest(sock, b"", length)), list(fds)


def _receive_rest(sock: socket.socket, data: bytes, length: int) -> bytes:
    while len(data) < length:
        more = sock.recv(length - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies, where it can."""
    prctl(_SET_PDEATHSIG, signal.SIGKILL)


class FrozenTemplate:
    """What ``multiprocessing.freeze_support()`` of a frozen program finds in the place of a process to run."""

    def __init__(self, control_fd: int) -> None:
        self._control_fd = control_fd

    def _bootstrap(self, parent_sentinel: int) -> None:
        os.close(parent_sentinel)
        main(self._control_fd)


def import_for_workers() -> None:
    """Import all that workers need for a first task, before the first fork."""
    import ctypes  # noqa: F401

    import futures_cluster.services.worker.process
    import futures_cluster.wire.transports.tcp
    import futures_cluster.wire.transports.unix  # noqa: F401  # at whose addresses they listen


def main(control_fd: int) -> None:
    """Serve until the client is gone."""
    os.set_inheritable(control_fd, False)
    control = socket.socket(fileno=control_fd)
    os.environ.pop(config.TEMPLATE_VARIABLE, None)
    try:
        send(control, ("template", "", os.getpid()), [])
    except OSError:
        return  # the program has ended already

    collects = gc.isenabled()
    gc.disable()  # all that is imported stays, so that looking for garbage only takes time
    import_for_workers()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    wake_pipe = WakePipe()
    signal.set_wakeup_fd(wake_pipe.write_fd, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda signum, frame: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the caller's is inherited, and may block SIGCHLD
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    selector.register(wake_pipe.read_fd, selectors.EVENT_READ)
    gc.freeze()  # what is here now is never looked at again, and so its pages stay shared with the workers
    if collects:
        gc.enable()
    children: dict[int, Any] = {}  # workers' settings
    orphans = Orphans()
    try:
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if wake_pipe.read_fd in ready:
                wake_pipe.drain()
            _reap(control, children, orphans)
            if control in ready:
                (settings, number), fds = receive(control)
                sys.stdout.flush()
                try:
                    if len(fds) < number:  # the kernel drops those for which this process has no room
                        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
                    pid = os.fork()
                except OSError as error:
                    send(control, ("failed", settings.name, (error.errno, error.strerror)), [])
                else:
                    if pid == 0:
                        _become_worker(settings, fds, [control, wake_pipe, selector])
                    children[pid] = settings
                    send(control, ("started", settings.name, pid), [])
                for fd in fds:
                    os.close(fd)
    except (EOFError, OSError):
        pass
    finally:
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in children:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        orphans.end_all(is_forced=bool(children))
        for settings in children.values():
            if settings.folder is not None:  # nothing else removes it
                shutil.rmtree(settings.folder, ignore_errors=True)
        os._exit(0)


def _reap(control: socket.socket, children: dict[int, Any], orphans: Orphans) -> None:
    """Report workers that have ended, and end what killed ones leave."""
    present = orphans.present()  # first: there is nothing among these of a worker that is not waited for below
    ended: list[tuple[str, str, int]] = []
    are_left_to_end = False
    with contextlib.suppress(ChildProcessError):
        while (result := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = result
            was_doomed = orphans.ended(pid)
            present.discard(pid)
            if pid in children:
                ended.append(("exited", children.pop(pid).name, os.waitstatus_to_exitcode(status)))
                are_left_to_end |= status != 0
            are_left_to_end |= was_doomed
    if are_left_to_end:
        orphans.end(children)
    else:
        orphans.spare(orphans.present() if ended else present)
    for each in ended:
        send(control, each, [])


def _become_worker(settings: Any, fds: list[int], inherited: list[Any]) -> None:
    """Become a worker, in the child; never returns."""
    code = 1
    try:
        die_with_parent()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for each in inherited:
            each.close()
        from futures_cluster.services.worker import process

        process.main(settings, fds)
        code = 0
    finally:
        os._exit(code)
