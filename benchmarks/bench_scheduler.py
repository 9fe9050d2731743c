"""asv: the scheduler machine's own cost a task, with simulated workers.

The measuring is ``scheduler_cost.cost_per_task(workers=..., tasks=...)``, in seconds a task. Not covered: the
wire, the workers and the client, which ``bench_throughput`` has in it.
"""

from __future__ import annotations

from . import scheduler_cost


class Scheduler:
    params = (10, 1_000, 10_000)
    param_names = ("workers",)
    timeout = 120

    def track_cost_per_task(self, workers: int) -> float:
        return 1e6 * float(scheduler_cost.cost_per_task(workers=workers, tasks=20_000))

    track_cost_per_task.unit = "us"  # type: ignore[attr-defined]
