"""The template process that workers are forked from, seen from the client's process: its start and its end.

Covers: starting it with the options of this interpreter; the socket by which it is asked for workers.
Does not cover: what it does (``forkserver``), what is asked of it (``launch``).

This module imports next to nothing, so that the template can be started before the client imports the rest.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from futures_cluster.services import lifetime

#: Whether sockets can carry descriptors to worker processes.
available = hasattr(socket, "AF_UNIX") and hasattr(socket, "send_fds")


class Template:
    """The process, which starts at once; from any thread.

    Parameters
    ----------
    environment : dict
        What it has in its environment besides what this process has.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        lifetime.left_behind(self)
        ours, theirs = socket.socketpair()
        self.control = ours
        # The options of this interpreter (-O, -W, ...) hold for the workers as well.
        options = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        code = (
            f"import sys; sys.path[:] = {sys.path!r}; "
            f"from futures_cluster.services.forkserver import main; main({theirs.fileno()})"
        )
        try:
            self.process = subprocess.Popen(
                [sys.executable, *options, "-c", code],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, **environment},
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()

    def kill(self) -> None:
        """End it now, and with it the workers that it has forked."""
        self.control.close()
        self.process.kill()
        self.process.wait()

    def forget_in_child(self) -> None:
        """In a forked copy of this process: while anybody holds the socket, it cannot see that its client has died."""
        self.control.close()
