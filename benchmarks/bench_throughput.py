"""asv: how long many no-op tasks take, by submit, by map, and in a chain of futures. Two local workers.

Not covered: other systems (see ``peers.py``), tasks that compute.
"""

from __future__ import annotations

from futures_cluster import Executor

from .peerlib.tasks import identity, noop

TASKS = 2_000


class Throughput:
    params = ("processes", "threads")
    param_names = ("backend",)
    timeout = 120

    def setup(self, backend: str) -> None:
        self.executor = Executor(2, backend=backend)
        list(self.executor.map(identity, range(200)))

    def teardown(self, backend: str) -> None:
        self.executor.shutdown()

    def time_submit(self, backend: str) -> None:
        futures = [self.executor.submit(noop) for _ in range(TASKS)]
        for future in futures:
            future.result()

    def time_map(self, backend: str) -> None:
        list(self.executor.map(identity, range(TASKS)))

    def time_map_chunks_of_100(self, backend: str) -> None:
        list(self.executor.map(identity, range(TASKS), chunksize=100))

    def time_chain_of_futures(self, backend: str) -> None:
        future = self.executor.submit(identity, 1)
        for _ in range(TASKS // 10):
            future = self.executor.submit(identity, future)
        future.result()
