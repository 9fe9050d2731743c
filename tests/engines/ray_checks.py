"""Runs checks of engines on a real local Ray, in a process of their own: Ray leaves threads and sockets in its driver.

Covers: one line with a check's name in, one line with its outcome out; by Ray's client, if an address (``ray://...``)
is given. Does not cover: the tests.
"""

from __future__ import annotations

import json
import sys
import traceback
from typing import Any

import ray

from futures_cluster import Executor
from futures_cluster.testing.engine_checks import CHECKS, ENGINES, run_check

#: Of a server of Ray's client on a Ray with two CPUs.
ADDRESS = "".join(sys.argv[1:])

_shape: Any = None


def make_executor(
    max_workers: int = 2,
    threads_per_worker: int = 1,
    resources: dict[str, float] | None = None,
    **arguments: Any,
) -> Executor:
    """An executor on a Ray of this shape; the one before it is stopped if it had another."""
    global _shape
    shape = (max_workers * threads_per_worker, resources)
    if shape != _shape and not ADDRESS:
        ray.shutdown()
        ray.init(
            "local",
            num_cpus=shape[0],
            resources=resources,
            include_dashboard=False,
            configure_logging=False,
            log_to_driver=False,
        )
        _shape = shape
    return Executor(backend="ray", **arguments)


def main() -> None:
    """Until the input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr
    if ADDRESS:
        ray.init(ADDRESS, log_to_driver=False)
    for line in sys.stdin:
        try:
            run_check(CHECKS[line.strip()], make_executor, lacks=ENGINES["ray"].lacks)
            outcome = ""
        except BaseException:
            outcome = traceback.format_exc()
        print(json.dumps(outcome), file=answers, flush=True)
    ray.shutdown()


if __name__ == "__main__":
    main()
