"""Files by which tasks and their caller tell each other things: events, counters and a log.

They work wherever tasks run: in threads, in other processes, in those of another cluster on this host. Events of
``threading`` do not.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile

from futures_cluster.testing.engine_checks.harness import wait_until


class SharedFolder:
    """A temporary folder, which its creator removes. Copies that tasks get refer to the same folder."""

    def __init__(self) -> None:
        self.path = tempfile.mkdtemp(prefix="engine_checks-")

    def __enter__(self) -> SharedFolder:
        return self

    def __exit__(self, *exc_info: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    # ---------------------------------------------------------------- events: files without content

    def set(self, name: object) -> None:
        """Set an event."""
        with open(os.path.join(self.path, str(name)), "w"):
            pass

    def wait(self, name: object) -> None:
        """Wait for an event."""
        path = os.path.join(self.path, str(name))
        wait_until(lambda: os.path.exists(path), lambda: f"no task has set the event {name}")

    def names(self) -> list[str]:
        """Return the names of all files: of events, and ``name.number`` of counted calls."""
        return os.listdir(self.path)

    # ---------------------------------------------------------------- counters

    def count_call(self, name: str) -> int:
        """Count the calls with this name in all processes; the first returns 1."""
        for number in itertools.count(1):
            with contextlib.suppress(FileExistsError):
                os.close(os.open(os.path.join(self.path, f"{name}.{number}"), os.O_CREAT | os.O_EXCL))
                return number
        raise AssertionError

    # ---------------------------------------------------------------- the log

    def log(self, line: object) -> None:
        """Append a line to the log."""
        fd = os.open(os.path.join(self.path, "log"), os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        os.write(fd, f"{line}\n".encode())
        os.close(fd)

    def log_lines(self) -> list[str]:
        """Return the lines of the log."""
        try:
            with open(os.path.join(self.path, "log")) as file:
                return file.read().splitlines()
        except FileNotFoundError:
            return []
