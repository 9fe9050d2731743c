"""What a soak counts: tasks, answers that were wrong, futures that hung, errors that nothing explains.

Covers: counting from several threads and processes, and keeping the first few failures in words.
Does not cover: what is done (``jobs``), memory (``growth``).
"""

from __future__ import annotations

import threading
from typing import Any

#: Failures that are kept in words; the rest is counted.
MAX_KEPT = 20


class Tally:
    """Numbers of one run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.tasks = 0
        self.jobs: dict[str, int] = {}
        self.wrong = 0
        self.hung = 0
        self.failed = 0  # jobs that ended with an error of no known reason
        self.blamed = 0  # tasks that had the bad luck to be running when three workers were killed
        self.lost = 0  # scattered data whose only holder was killed
        self.failures: list[str] = []

    def did(self, job: str, tasks: int) -> None:
        """A job has ended well."""
        with self._lock:
            self.tasks += tasks
            self.jobs[job] = self.jobs.get(job, 0) + 1

    def add(self, kind: str, text: str = "", number: int = 1) -> None:
        """Count what a job met."""
        with self._lock:
            setattr(self, kind, getattr(self, kind) + number)
            if text and len(self.failures) < MAX_KEPT:
                self.failures.append(f"{kind}: {text}")

    @property
    def is_good(self) -> bool:
        """Whether every answer was right and came."""
        return not (self.wrong or self.hung or self.failed)

    def numbers(self) -> dict[str, Any]:
        """For another process."""
        with self._lock:
            names = ("tasks", "jobs", "wrong", "hung", "failed", "blamed", "lost", "failures")
            return {name: getattr(self, name) for name in names}

    def join(self, numbers: dict[str, Any]) -> None:
        """Add those of another process."""
        with self._lock:
            for name in ("tasks", "wrong", "hung", "failed", "blamed", "lost"):
                setattr(self, name, getattr(self, name) + numbers[name])
            for job, count in numbers["jobs"].items():
                self.jobs[job] = self.jobs.get(job, 0) + count
            self.failures += numbers["failures"][: MAX_KEPT - len(self.failures)]
