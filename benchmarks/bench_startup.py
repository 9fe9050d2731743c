"""asv: the import, and constructor to first result to shutdown.

Not covered: starting workers on other machines, starting with an ``mp_context``.
"""

from __future__ import annotations

import subprocess
import sys

from futures_cluster import Executor

from .peerlib.tasks import noop


def modules_after(statement: str) -> list[str]:
    """The modules that a fresh interpreter has after a statement."""
    code = f"{statement}\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.split()


class Import:
    def timeraw_executor(self) -> str:
        return "from futures_cluster import Executor"

    def timeraw_stdlib_pool_to_compare(self) -> str:
        return "from concurrent.futures import ProcessPoolExecutor"

    def track_modules(self) -> int:
        return len(modules_after("from futures_cluster import Executor"))

    track_modules.unit = "modules"  # type: ignore[attr-defined]


class Startup:
    params = ("processes", "threads", "sync")
    param_names = ("backend",)
    timeout = 120

    def time_start_first_result_stop(self, backend: str) -> None:
        executor = Executor(backend=backend) if backend == "sync" else Executor(2, backend=backend)
        executor.submit(noop).result()
        executor.shutdown()
