"""asv: large arrays in and out of worker processes, and one memcpy of the same size to compare with.

Not covered: object arrays and dataframes, results that spill, workers on other hosts.
"""

from __future__ import annotations

import numpy as np

from futures_cluster import Executor

from .peerlib.tasks import nbytes_of

results: dict[int, np.ndarray] = {}


def made_earlier(size: int) -> np.ndarray:
    """An array that this worker makes once, so that only its way home is timed."""
    if size not in results:
        results[size] = np.ones(size // 8)
    return results[size]


class Buffers:
    params = (1_000_000, 100_000_000)
    param_names = ("bytes",)
    timeout = 120

    def setup(self, size: int) -> None:
        self.array = np.ones(size // 8)
        self.target = np.zeros(size // 8)
        self.executor = Executor(2)
        for _ in range(4):
            self.executor.submit(nbytes_of, self.array).result()
            self.executor.submit(made_earlier, size).result()

    def teardown(self, size: int) -> None:
        self.executor.shutdown()

    def time_memcpy(self, size: int) -> None:
        self.target[:] = self.array

    def time_in(self, size: int) -> None:
        self.executor.submit(nbytes_of, self.array).result()

    def time_out(self, size: int) -> None:
        self.executor.submit(made_earlier, size).result()

    def time_out_and_read(self, size: int) -> None:
        self.executor.submit(made_earlier, size).result().sum()

    def time_scatter_and_use_10_times(self, size: int) -> None:
        block = self.executor.scatter(self.array)
        for future in [self.executor.submit(nbytes_of, block) for _ in range(10)]:
            future.result()
