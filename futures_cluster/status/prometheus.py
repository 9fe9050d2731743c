"""Figures in the text format of Prometheus (version 0.0.4).

Covers: the snapshot's figures, and the counters and timings of the scheduler and its workers. Does not cover: finding
them out.
"""

from __future__ import annotations

import math
import re
from typing import Any

PREFIX = "futures_cluster"
_STATES = ("waiting", "queued", "assigned", "memory", "failed", "released")
#: Key of a worker's row -> name of the metric, its kind, and what it is.
_OF_WORKERS = {
    "slots": ("worker_slots", "gauge", "Tasks that a worker runs at a time."),
    "running": ("worker_running", "gauge", "Tasks that have a slot."),
    "committed": ("worker_committed", "gauge", "Tasks committed to a worker."),
    "results": ("worker_results", "gauge", "Results that a worker holds."),
    "held_bytes": ("worker_held_bytes", "gauge", "Their size."),
    "memory_bytes": ("worker_memory_bytes", "gauge", "Memory of the process."),
    "memory_limit": ("worker_memory_limit_bytes", "gauge", "What it may take."),
    "spilled_bytes": ("worker_spilled_bytes", "gauge", "Results on disk."),
    "cpu": ("worker_cpu_cores", "gauge", "Processor cores that the process uses."),
    "received_bytes": ("worker_received_bytes_total", "counter", "Bytes that came from other workers."),
    "sent_bytes": ("worker_sent_bytes_total", "counter", "Bytes that others got from it."),
    "raised": ("worker_raised_total", "counter", "Executions that raised."),
}


def label(value: str) -> str:
    r"""Return a value of a label, escaped.

    Examples
    --------
    >>> print(label('a "b" \\ c'), label("caf\udce9"))
    "a \"b\" \\ c" "caf\\udce9"
    """
    value = value.encode(errors="backslashreplace").decode()  # half of a surrogate pair
    return '"' + value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") + '"'


def metric_name(name: str) -> str:
    """Return a name of a metric, made of whatever was counted.

    Examples
    --------
    >>> metric_name("loop delay/s")
    'loop_delay_s'
    """
    return re.sub(r"[^a-zA-Z0-9_]", "_", name)


def number(value: float) -> str:
    """Return a number as Prometheus reads it."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return repr(value)


class _Text:
    def __init__(self) -> None:
        self._families: dict[str, list[str]] = {}

    def add(self, name: str, kind: str, words: str, value: Any, suffix: str = "", **labels: str) -> None:
        """Add a sample; all of one name stand together, as the format wants it."""
        if value is None:
            return
        full = f"{PREFIX}_{name}"
        lines = self._families.setdefault(full, [f"# HELP {full} {words}", f"# TYPE {full} {kind}"])
        inside = ",".join(f"{key}={label(text)}" for key, text in labels.items())
        lines.append(f"{full}{suffix}{{{inside}}} {number(value)}" if inside else f"{full}{suffix} {number(value)}")

    def __str__(self) -> str:
        return "".join(line + "\n" for lines in self._families.values() for line in lines)


def render(snapshot: dict[str, Any], workers: dict[str, Any]) -> str:
    """Return the text.

    Parameters
    ----------
    snapshot : dict
        As ``/api/v1/snapshot`` has it.
    workers : dict
        Name -> summary of its metrics (``metrics.Metrics.summary``).
    """
    text = _Text()
    for state in _STATES:
        text.add("tasks", "gauge", "Tasks, by state.", snapshot["tasks"].get(state, 0), state=state)
    for row in snapshot["functions"]:
        name = row["name"]
        text.add("finished_total", "counter", "Executions with a result.", row["finished"], function=name)
        text.add("raised_total", "counter", "Executions that raised.", row["raised"], function=name)
        text.add("duration_seconds", "gauge", "Moving average.", row["duration_s"], function=name)
    for row in snapshot["limits"]:
        text.add("limit_total", "gauge", "What running tasks may have of a limit.", row["total"], limit=row["name"])
        text.add("limit_used", "gauge", "What they have.", row["used"], limit=row["name"])
        text.add("limit_waiting", "gauge", "Queued tasks that ask for it.", row["waiting"], limit=row["name"])
    text.add("workers", "gauge", "Workers.", len(snapshot["workers"]))
    text.add("clients", "gauge", "Clients.", len(snapshot["clients"]))
    text.add("moved_total", "counter", "Tasks that idle workers took over.", snapshot["stealing"]["moved"])
    scheduler = snapshot["scheduler"]
    text.add("scheduler_cpu_cores", "gauge", "Processor cores that the process uses.", scheduler["cpu"])
    text.add("scheduler_memory_bytes", "gauge", "Memory of the process.", scheduler["memory_bytes"])
    for row in snapshot["workers"]:
        for key, (name, kind, words) in _OF_WORKERS.items():
            text.add(name, kind, words, row.get(key), worker=row["name"])
    for process, summary in {"scheduler": snapshot["metrics"], **workers}.items():
        _add_summary(text, process, summary)
    return str(text)


def _add_summary(text: _Text, process: str, summary: dict[str, Any]) -> None:
    for name, counts in summary.get("counts", {}).items():
        text.add(f"{metric_name(name)}_total", "counter", "Since the start.", counts["start"], process=process)
    for name, spans in summary.get("timings", {}).items():
        full = f"{metric_name(name)}_seconds"
        for quantile in (0.5, 0.9, 0.99):
            value = spans["minute"][f"p{quantile * 100:g}"]
            text.add(full, "summary", "Over the last minute.", value, process=process, quantile=str(quantile))
        for suffix in ("count", "sum"):
            text.add(full, "summary", "", spans["start"][suffix], f"_{suffix}", process=process)
