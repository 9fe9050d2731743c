"""Medians over rounds, ratios, and the tables.

A ratio is computed inside each round, between neighbours in time, and the median of these ratios is shown;
it is therefore not exactly the ratio of the medians beside it. Not covered: statistical tests.
"""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

from .measures import Measure
from .systems import SYSTEMS

Run = dict[str, Any]
REFERENCE_TITLES = {"processpool": "/ ProcessPool", "distributed": "/ distributed", "memcpy": "/ memcpy"}


def machine_info(systems: list[str], missing: list[str], rounds: int, quick: bool, root: Path) -> dict[str, Any]:
    """Where and with what this run was made."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = {}
    for name in systems:
        module = SYSTEMS[name].module
        if not module.startswith("concurrent"):
            versions[module] = _version(module, root)
    versions["numpy"] = _version("numpy", root)
    return {
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "usable_cpus": affinity,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": versions,
        "missing": missing,
        "rounds": rounds,
        "quick": quick,
        "load_before": os.getloadavg() if hasattr(os, "getloadavg") else None,
    }


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown CPU"


def _version(module: str, root: Path) -> str:
    if module == "futures_cluster":
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--tags"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            return done.stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            pass
    try:
        return metadata.version(module)
    except metadata.PackageNotFoundError:
        return "?"


def format_value(value: float, unit: str) -> str:
    """A number as the tables show it: three significant digits, or whole with thousands."""
    if unit in ("tasks/s", "bytes"):
        return f"{value:,.0f}"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def format_ratio(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f} x" if value >= 100 else f"{value:.3g} x"


def summarize(runs: list[Run], system: str, measure: Measure) -> dict[str, Any]:
    """One row: median and range over rounds, median ratios, remarks."""
    mine = [run for run in runs if run["system"] == system and run["measure"] == measure.name]
    good = [run for run in mine if "value" in run]
    failed = [run["failed"] for run in mine if "failed" in run]
    row: dict[str, Any] = {"rounds": len(good), "failed": failed, "remarks": []}
    row["unsupported"] = next((run["unsupported"] for run in mine if "unsupported" in run), None)
    if not good:
        return row
    values = [run["value"] for run in good]
    row |= {"median": median(values), "min": min(values), "max": max(values)}
    row["ratios"] = {name: _ratio(runs, good, name) for name in measure.references}
    if "first_pass_ms" in good[0]:
        first = median(run["first_pass_ms"] for run in good)
        warm = median(run["warm_pass_ms"] for run in good)
        row["remarks"].append(f"first sum() {first:.3g} ms, a warm one {warm:.3g}")
    if "parts" in good[0]:
        parts = {key: median(run["parts"][key] for run in good) for key in good[0]["parts"]}
        row["remarks"].append(", ".join(f"{k.replace('_', ' ')} {v:.3g}" for k, v in parts.items()))
    if "quantiles" in good[0]:
        row["remarks"].append(f"p95 {median(run['quantiles']['p95'] for run in good):.3g}")
    if "modules" in good[0]:
        row["remarks"].append(f"{good[0]['modules']} modules" + (", numpy too" if good[0]["numpy"] else ""))
    if "tasks" in good[0]:
        row["remarks"].append(f"{good[0]['tasks']:,} tasks")
    if failed:
        row["remarks"].append(f"{len(failed)} rounds failed: {failed[-1]}")
    return row


def _ratio(runs: list[Run], good: list[Run], reference: str) -> float | None:
    """The median over rounds of value / reference, which is the same process's if it measured one."""
    ratios = []
    for run in good:
        divisor = run.get("references", {}).get(reference)
        if divisor is None:
            same = (run["measure"], run["round"], reference)
            others = [o for o in runs if (o["measure"], o["round"], o["system"]) == same and "value" in o]
            divisor = others[0]["value"] if others else None
        if divisor is not None and divisor > 0:
            ratios.append(run["value"] / divisor)
    return median(ratios) if ratios else None


def render(
    info: dict[str, Any], runs: list[Run], systems: list[str], measures: list[Measure], *, markdown: bool
) -> tuple[str, dict[str, Any]]:
    """The whole report, and the numbers in it."""
    blocks = [_heading(info, markdown)]
    summary: dict[str, Any] = {}
    for measure in measures:
        rows = {system: summarize(runs, system, measure) for system in systems}
        summary[measure.name] = rows
        better = "more is better" if measure.unit == "tasks/s" else "less is better"
        unit = "µs" if measure.unit == "us" else measure.unit
        title = f"{measure.title} [{unit}; {better}]"
        goal = f"futures_cluster's goal: {measure.goal}" if measure.goal else ""
        ratios = [REFERENCE_TITLES[reference] for reference in measure.references]
        header = ["system", "median", "min .. max", *ratios, "remarks"]
        table = [header] + [_cells(SYSTEMS[system].title, row, measure) for system, row in rows.items()]
        lines = ["### " + title if markdown else title]
        lines += ["", goal, ""] if markdown and goal else [goal] if goal else [""] * markdown
        lines += _markdown_table(table) if markdown else _plain_table(table)
        blocks.append("\n".join(lines))
    notes = [f"{SYSTEMS[s].title}: {SYSTEMS[s].note}." for s in systems if SYSTEMS[s].note]
    if notes:
        blocks.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(blocks) + "\n", summary


def _heading(info: dict[str, Any], markdown: bool) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in info["versions"].items())
    cpus = f"{info['usable_cpus']} of {info['cpus']} CPUs usable"
    lines = [
        f"{info['cpu']}, {cpus}; {info['system']}; {info['python']}",
        f"{versions}; not installed: {', '.join(info['missing']) or 'nothing that was asked for'}",
        f"{info['rounds']} rounds in turns, two workers each, {info['seconds']} s altogether",
    ]
    if info["load_before"]:
        before, after = info["load_before"][0], info["load_after"][0]
        lines[-1] += f"; load {before:.1f} before, {after:.1f} after"
    if info["quick"]:
        lines.append("--quick: this shows that all run; the numbers mean little")
    if info["interrupted"]:
        lines.append("interrupted: some measures or rounds are missing")
    return "\n".join(f"- {line}" if markdown else line for line in lines)


def _cells(title: str, row: dict[str, Any], measure: Measure) -> list[str]:
    gaps = ["-"] * len(measure.references)
    if "median" not in row:
        if row["failed"]:
            return [title, "failed", "-", *gaps, f"failed: {row['failed'][-1]}"]
        return [title, "n/a" if row["unsupported"] else "not run", "-", *gaps, row["unsupported"] or ""]
    spread = f"{format_value(row['min'], measure.unit)} .. {format_value(row['max'], measure.unit)}"
    ratios = [format_ratio(row["ratios"][name]) for name in measure.references]
    return [title, format_value(row["median"], measure.unit), spread, *ratios, "; ".join(row["remarks"])]


def _plain_table(table: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    last = len(widths) - 1
    lines = []
    for row in table:
        pairs = enumerate(zip(row, widths, strict=True))
        cells = [c.ljust(w) if i in (0, last) else c.rjust(w) for i, (c, w) in pairs]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths[:-1]) + "  " + "-" * len("remarks"))
    return lines


def _markdown_table(table: list[list[str]]) -> list[str]:
    rule = ["---"] + ["---:"] * (len(table[0]) - 2) + ["---"]
    safe = [[cell.replace("|", "\\|") for cell in row] for row in table]
    return ["| " + " | ".join(row) + " |" for row in [safe[0], rule, *safe[1:]]]
