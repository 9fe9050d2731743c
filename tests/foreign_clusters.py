"""Clusters of other people for the tests, in a process of their own: what they leave behind is not ours.

Covers: Dask clusters of any shape, made on demand; a local Ray. Does not cover: the tests.

The process reads a line with the wanted shape, as JSON, and answers with a line with the address. It ends when its
input does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from futures_cluster.testing import real_cluster


class Clusters:
    """The process, as the tests see it; clusters of the same shape are made once."""

    def __init__(self, kind: str) -> None:
        command = [sys.executable, "-W", "ignore", __file__, kind]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        real_cluster.shared_pids.add(self._process.pid)
        self._addresses: dict[str, str] = {}

    def address(self, **shape: Any) -> str:
        """The address of a cluster."""
        line = json.dumps(shape, sort_keys=True)
        if line not in self._addresses:
            assert self._process.stdin is not None and self._process.stdout is not None
            print(line, file=self._process.stdin, flush=True)
            self._addresses[line] = self._process.stdout.readline().strip()
            assert self._addresses[line], "the cluster did not start"
        return self._addresses[line]

    def close(self) -> None:
        """End the process, and all clusters with it."""
        self._process.communicate(timeout=60)
        real_cluster.shared_pids.discard(self._process.pid)

    def kill(self) -> None:
        """End the process at once; clusters of one worker die with it."""
        self._process.kill()
        self.close()


def start_dask(shape: dict[str, Any]) -> tuple[Any, str]:
    """A cluster whose workers are, unless ``processes`` says it, processes if there are two, else threads of this one.

    These start faster.
    """
    import dask
    from distributed import LocalCluster

    # Otherwise tasks are queued where they cannot overtake those that were handed out before them.
    dask.config.set({"distributed.scheduler.worker-saturation": "inf"})
    shape = {"processes": shape["n_workers"] > 1 and len(shape) == 2, **shape}
    cluster = LocalCluster(protocol="tcp://", dashboard_address=":0", **shape)
    return cluster, cluster.scheduler_address


def start_ray(shape: dict[str, Any]) -> tuple[Any, str]:
    """The one Ray of this process."""
    os.environ["RAY_AUTH_MODE"] = "disabled"  # a Ray that starts in a program keeps its token to itself
    import ray

    context = ray.init(include_dashboard=False, configure_logging=False, log_to_driver=False, **shape)
    return context, context.address_info["address"]


def main() -> None:
    """Start what is asked for."""
    answers, sys.stdout = sys.stdout, sys.stderr
    start = {"dask": start_dask, "ray": start_ray}[sys.argv[1]]
    clusters = []
    for line in sys.stdin:
        cluster, address = start(json.loads(line))
        clusters.append(cluster)
        print(address, file=answers, flush=True)
    for cluster in clusters:
        cluster.close() if hasattr(cluster, "close") else cluster.disconnect()


if __name__ == "__main__":
    main()
