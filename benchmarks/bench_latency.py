"""asv: one round trip of a no-op on idle workers, by ``result()`` and by ``as_completed``.

Not covered: latency under load, remote workers.
"""

from __future__ import annotations

from futures_cluster import Executor, as_completed

from .peerlib.tasks import identity, noop


class Latency:
    params = ("processes", "threads", "sync")
    param_names = ("backend",)
    timeout = 120

    def setup(self, backend: str) -> None:
        # "sync" runs the task inside submit: what remains is the cost of the executor's own layers
        self.executor = Executor(backend=backend) if backend == "sync" else Executor(2, backend=backend)
        list(self.executor.map(identity, range(200)))

    def teardown(self, backend: str) -> None:
        self.executor.shutdown()

    def time_round_trip(self, backend: str) -> None:
        self.executor.submit(noop).result()

    def time_as_completed_one(self, backend: str) -> None:
        for future in as_completed([self.executor.submit(noop)]):
            future.result()
