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
from pathlib import Path

from futures_cluster.testing.engine_checks.harness import wait_until


class SharedFolder:
    """A temporary folder, which its creator removes. Copies that tasks get refer to the same folder."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="engine_checks-"))

    def __enter__(self) -> SharedFolder:
        return self

    def __exit__(self, *exc_info: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    # ---------------------------------------------------------------- events: files without content

    def set(self, name: object) -> None:
        """Set an event."""
        (self.path / str(name)).touch()

    def wait(self, name: object) -> None:
        """Wait for an event."""
        wait_until((self.path / str(name)).exists, lambda: f"no task has set the event {name}")

    def names(self) -> list[str]:
        """Return the names of all files: of events, and ``name.number`` of counted calls."""
        return os.listdir(self.path)

    # ---------------------------------------------------------------- counters

    def count_call(self, name: str) -> int:
        """Count the calls with this name in all processes; the first returns 1."""
        for number in itertools.count(1):
            with contextlib.suppress(FileExistsError):
                (self.path / f"{name}.{number}").touch(exist_ok=False)
                return number
        raise AssertionError

    # ---------------------------------------------------------------- the log

    def log(self, line: object) -> None:
        """Append a line to the log."""
        with open(self.path / "log", "a") as file:  # at once, as it fits into the buffer
            file.write(f"{line}\n")

    def log_lines(self) -> list[str]:
        """Return the lines of the log."""
        log = self.path / "log"
        return log.read_text().splitlines() if log.exists() else []
