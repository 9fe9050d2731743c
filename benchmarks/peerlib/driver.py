"""The command line, the rounds, and one fresh process for each measurement.

A measurement that crashes, hangs or leaves its process with an error counts as failed, with the reason, and
the run goes on. After two failures in a row a system is not asked again for that measure.
Not covered: pinning to cores or any other preparation of the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from .measures import MAIN_MEASURES, MEASURES
from .report import machine_info, render
from .systems import SYSTEMS, Unsupported

HERE = Path(__file__).resolve().parent.parent


def measure_here(system: str, measure: str, quick: bool, main: bool) -> int:
    """Run one measurement in this process and print it as one line of JSON."""
    warnings.simplefilter("ignore")
    try:
        result = (MAIN_MEASURES if main else MEASURES)[measure].run(SYSTEMS[system](), quick)
    except Unsupported as error:
        result = {"unsupported": str(error)}
    print("\n" + json.dumps(result), flush=True)
    return 0


def _environment() -> dict[str, str]:
    """Children import this checkout, and the backend is the one that the adapter asks for."""
    env = dict(os.environ)
    env.pop("FUTURES_CLUSTER_BACKEND", None)
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    parts = [str(HERE), str(HERE.parent), env.get("PYTHONPATH", "")]
    env["PYTHONPATH"] = os.pathsep.join(part for part in parts if part)
    return env


def _kill(process: subprocess.Popen[str]) -> None:
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # it leads a session of its own, its workers are in it
    else:
        process.kill()


def measure_apart(system: str, measure: str, quick: bool, main: bool, timeout: float) -> dict[str, Any]:
    """Run one measurement in a fresh process; a failure is an answer, not an exception."""
    command = [sys.executable, str(HERE / "peers.py"), "--one", system, measure]
    command += ["--quick"] * quick + ["--main"] * main
    process = subprocess.Popen(
        command,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        _kill(process)
        try:
            stdout, _ = process.communicate(timeout=10)
        except subprocess.TimeoutExpired:  # somebody outside the session still holds the pipe
            stdout = ""
        when = "at exit" if _last_json(stdout) else "before it had a result"
        return {"failed": f"hung {when}, killed after {timeout:g} s"}
    except BaseException:
        _kill(process)
        raise
    if process.returncode:
        lines = [line.strip() for line in stderr.splitlines() if line.strip()]
        reason = lines[-1][:200] if lines else "nothing on stderr"
        return {"failed": f"exit code {process.returncode}: {reason}", "stderr": stderr[-4000:]}
    return _last_json(stdout) or {"failed": "printed no result", "stderr": stderr[-4000:]}


def _last_json(text: str) -> dict[str, Any] | None:
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            try:
                found: dict[str, Any] = json.loads(line)
            except ValueError:
                continue
            return found
    return None


def _names(text: str | None, known: dict[str, Any], what: str) -> list[str]:
    if text is None:
        return list(known)
    names = [name.strip() for name in text.split(",") if name.strip()]
    wrong = [name for name in names if name not in known]
    if wrong:
        sys.exit(f"unknown {what}: {', '.join(wrong)}; known: {', '.join(known)}")
    return names


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="peers.py", description="futures_cluster beside other executors")
    parser.add_argument("--systems", metavar="A,B", help=f"of {', '.join(SYSTEMS)}; all that are installed")
    parser.add_argument("--measures", metavar="A,B", help=f"of {', '.join(MEASURES)}; all")
    parser.add_argument("--main", action="store_true", help=f"{', '.join(MAIN_MEASURES)} of functions of __main__")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of every measure; 5, with --quick 2")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work: shows that all run, no more")
    parser.add_argument("--timeout", type=float, default=180.0, metavar="S", help="of one process; 180 seconds")
    parser.add_argument("--markdown", action="store_true", help="print markdown in place of plain text")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all raw numbers there")
    parser.add_argument("--one", nargs=2, metavar=("SYSTEM", "MEASURE"), help="one measurement, here, as JSON")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    options = _arguments(argv)
    known = MAIN_MEASURES if options.main else MEASURES
    if options.one:
        system, measure = options.one
        _names(system, SYSTEMS, "system")
        _names(measure, known, "measure")
        return measure_here(system, measure, options.quick, options.main)

    sys.path.insert(1, str(HERE.parent))
    wanted = _names(options.systems, SYSTEMS, "system")
    systems = [name for name in wanted if SYSTEMS[name].installed()]
    missing = [name for name in wanted if name not in systems]
    measures = _names(options.measures, known, "measure")
    rounds = options.rounds or (2 if options.quick else 5)
    info = machine_info(systems, missing, rounds, options.quick, HERE.parent)
    runs: list[dict[str, Any]] = []
    begin = time.perf_counter()
    stopped = False
    try:
        for measure in measures:
            failures = dict.fromkeys(systems, 0)
            for number in range(rounds):
                for system in systems:
                    if failures[system] >= 2:
                        continue
                    print(f"{measure}, round {number + 1} of {rounds}: {system}", file=sys.stderr)
                    answer = measure_apart(system, measure, options.quick, options.main, options.timeout)
                    runs.append({"measure": measure, "round": number, "system": system, **answer})
                    failures[system] = failures[system] + 1 if "failed" in answer else 0
                    if "failed" in answer:
                        print(f"    failed: {answer['failed']}", file=sys.stderr)
    except KeyboardInterrupt:
        stopped = True
    info["seconds"] = round(time.perf_counter() - begin, 1)
    info["load_after"] = os.getloadavg() if hasattr(os, "getloadavg") else None
    info["interrupted"] = stopped
    text, summary = render(info, runs, systems, [known[name] for name in measures], markdown=options.markdown)
    if options.json:
        options.json.write_text(json.dumps({"info": info, "summary": summary, "runs": runs}, indent=1) + "\n")
    print(text)
    return 130 if stopped else 0
