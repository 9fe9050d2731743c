"""What every engine must do, as functions that authors of engines can run against theirs.

Covers: all that users see of an executor, one promise a check. Does not cover: speed, and dying workers.

A check is ``check_*(make_executor)``; ``make_executor(**arguments)`` returns an ``Executor`` over the engine, made with
the given arguments of ``Executor``. ``CHECKS`` has all of them by name, with what each needs of an engine:

- *features*: what ``lacks`` may name, as in ``run_check(check, make_executor, lacks={"kill"})``. The check is run all
  the same, and has to end with ``NotSupported``: a caller that uses a missing feature must get an error.
- *traits*: how the engine works at all. Without one of them a check says nothing, and ``is_meant_for`` is false.
- *libraries*: what runs on executors, such as Dask. Without it the check says nothing either.

Tasks and checks tell each other things by files in a folder that they share, because events of ``threading`` do not
reach other processes. Nothing waits for a fixed time, but for ``TIMEOUT_S`` at most.

Examples
--------
>>> from futures_cluster import Executor
>>> def make_executor(**arguments):
...     return Executor(backend="sync", **arguments)
>>> run_check(CHECKS["check_submit_keywords"], make_executor)
"""

from __future__ import annotations

from futures_cluster.testing.engine_checks import callbacks, calls, channels, data, libraries, lifetime, nested
from futures_cluster.testing.engine_checks.capabilities import ENGINES, Capabilities
from futures_cluster.testing.engine_checks.harness import CHECKS, FEATURES, TIMEOUT_S, TRAITS, Check, run_check

__all__ = [
    "CHECKS",
    "ENGINES",
    "FEATURES",
    "TIMEOUT_S",
    "TRAITS",
    "Capabilities",
    "Check",
    "callbacks",
    "calls",
    "channels",
    "data",
    "libraries",
    "lifetime",
    "nested",
    "run_check",
]
