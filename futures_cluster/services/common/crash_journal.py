"""What a worker was doing when it died.

Covers: a page of shared memory in which a worker notes, for each slot, the number of the attempt it executes,
and which its parent reads after its death. Does not cover: blaming (``scheduler.recovery``).
"""

from __future__ import annotations

import mmap
import os

PAGE_BYTES = 16 * 1024
MAX_SLOTS = PAGE_BYTES // 8


class CrashJournal:
    """One page; made by the parent (no ``fd``) or opened by the worker."""

    def __init__(self, fd: int | None = None) -> None:
        self.fd = os.memfd_create("futures_cluster-blackbox", os.MFD_CLOEXEC) if fd is None else fd
        try:
            if fd is None:
                os.ftruncate(self.fd, PAGE_BYTES)
            self._page = mmap.mmap(self.fd, PAGE_BYTES)
            self._numbers = memoryview(self._page).cast("Q")
        except BaseException:
            os.close(self.fd)
            raise

    def record(self, slot: int, attempt: int) -> None:
        """Write the number of the attempt that the slot executes; 0 for none."""
        if slot < MAX_SLOTS:
            self._numbers[slot] = attempt

    def executing(self) -> list[int]:
        """Return the numbers of what is or was executed."""
        return [number for number in self._numbers.tolist() if number]

    def close(self) -> None:
        """Give up the page."""
        self._numbers.release()
        self._page.close()
        os.close(self.fd)
