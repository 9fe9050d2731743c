"""Runs the scripts of this folder as users run theirs, on the standard library's pool and on ours.

A script is a program with ``from concurrent.futures import ProcessPoolExecutor`` (or ``import concurrent.futures``) and
everything else in ``__main__``. To run it on our pool the harness changes the import in a copy, as README tells users
to do, and, where the script has the line ``CONTEXT = None``, fills in the multiprocessing context. Comments in a script
say how it is run:

``# contexts:``
    Ways to start the workers: ``default`` (our own start, beside the standard library's fork), ``fork``, ``spawn``,
    ``forkserver``, and ``tcp`` (our ``Executor`` on a scheduler of its own, and on the engines of Dask and Ray, where
    code travels by value as well).
``# modes:``
    Ways to run the script: ``file``, ``-c``, ``stdin``, ``module`` (``python -m package.module``), ``ipython`` (a real
    kernel, see ``cells``), and ``closed-stdin``, ``closed-stdout``, ``closed-stderr``, ``closed-all``.
``# compare:``
    What must be the same: ``stdout``, ``stderr`` (lines in any order), ``exit`` (the exit code), ``file`` (what the
    script wrote to ``output.txt``). Without it: ``stdout exit``.
``# exit:``
    The exit code of the standard library's run, if it is not 0.
``# slow:``
    Why a script takes so long that it runs with the slow tests only.
``# without:``
    Clusters on which it prints something else, as documented: large arrays are read-only on Ray.
``# python:``, ``# needs:``
    The least version of Python, and modules without which the script is skipped.

Where ours promises more than the standard library the script ends with a block ``# expected:`` of comments; then its
output is compared with that block, and the standard library's pool does not run.

Does not cover: what the scripts check.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LIMIT_S = 30.0

STANDARD_IMPORT = re.compile(r"^from concurrent\.futures import (.*PoolExecutor\b.*)$", re.MULTILINE)
CONTEXT_LINE = "CONTEXT = None\n"
CONTEXTS = ("default", "fork", "spawn", "forkserver", "tcp")
#: Where our ``Executor`` runs a script on a cluster, and what is needed to start one.
CLUSTERS = {"tcp": "futures_cluster", "dask": "distributed", "ray": "ray"}
STREAMS = {"closed-stdin": "<&-", "closed-stdout": ">&-", "closed-stderr": "2>&-", "closed-all": "<&- >&- 2>&-"}
MODES = ("file", "-c", "stdin", "module", "ipython", *STREAMS)
COMPARED = ("stdout", "stderr", "exit", "file")
NOT_SCRIPTS = ("cells.py", "harness.py", "test_scripts.py")


@dataclass(frozen=True)
class Outcome:
    """What a run has left: its output, its exit code, and ``output.txt``."""

    stdout: str
    stderr: str
    exit: int
    file: str = ""

    def shown(self, part: str) -> Any:
        """One part of it as it is compared."""
        value = getattr(self, part)
        return sorted(value.splitlines()) if part == "stderr" else value


@dataclass(frozen=True)
class Script:
    """A script of this folder, and what its comments say."""

    path: Path
    text: str
    contexts: tuple[str, ...]
    without: tuple[str, ...]
    modes: tuple[str, ...]
    compare: tuple[str, ...]
    exit: int
    python: tuple[int, ...]
    needs: tuple[str, ...]
    expected: str | None

    @property
    def name(self) -> str:
        """Its name, as test names have it."""
        return self.path.stem

    def variants(self) -> list[tuple[str, str]]:
        """Pairs of context and mode: all contexts in the first mode, all modes with the first context.

        Where a program cannot be imported again only fork starts processes.
        """
        pairs = [(context, self.modes[0]) for context in self.contexts]
        if "tcp" in self.contexts:
            others = set(CLUSTERS) - {"tcp", *self.without}
            pairs += [(engine, self.modes[0]) for engine in sorted(others)]
        pairs += [(self.contexts[0], mode) for mode in self.modes[1:]]
        if "fork" in self.contexts[1:]:
            pairs += [("fork", mode) for mode in self.modes[1:] if mode in ("-c", "stdin", "ipython")]
        return pairs

    def quick_variants(self) -> list[tuple[str, str]]:
        """The first, and for half of the scripts one of the others: always the same ones.

        None of a script that takes long.
        """
        if re.search("^# slow: ", self.text, re.MULTILINE):
            return []
        first, *others = self.variants()
        cheap = [pair for pair in others if pair[1] != "ipython" and pair[0] not in (*CLUSTERS, "forkserver")]
        chosen, turn = divmod(zlib.crc32(self.name.encode()), 2)
        return [first, cheap[chosen % len(cheap)]] if cheap and turn else [first]

    def why_not(self, mode: str) -> str | None:
        """A reason to skip it here, if there is one."""
        if sys.version_info[:2] < self.python:
            return f"needs Python {'.'.join(map(str, self.python))}"
        needs = (*self.needs, *(("ipykernel", "jupyter_client") if mode == "ipython" else ()))
        missing = [name for name in needs if importlib.util.find_spec(name) is None]
        return f"needs {', '.join(missing)}" if missing else None


def read_script(path: Path) -> Script:
    """Read a script and its directives."""
    text = path.read_text()
    imports = ("import concurrent.futures\n", "import futures_cluster", "from futures_cluster")
    assert STANDARD_IMPORT.search(text) or any(line in text for line in imports), path
    contexts = _directive(text, "contexts", CONTEXTS) or ("default",)
    assert contexts == ("default",) or CONTEXT_LINE in text, f"{path} has no place for a context"
    _, marked, block = text.partition("\n# expected:\n")
    if not marked and {"-c", "stdin"} & set(_directive(text, "modes")):
        # From Python 3.14 on the standard library forks only where it is told to, and other workers lack the program.
        assert CONTEXT_LINE in text, f"{path} has no place for a context"
    expected = "".join(f"{line.removeprefix('#').removeprefix(' ')}\n" for line in block.splitlines())
    return Script(
        path,
        text,
        contexts,
        _directive(text, "without", tuple(CLUSTERS)),
        _directive(text, "modes", MODES) or ("file",),
        _directive(text, "compare", COMPARED) or ("stdout", "exit"),
        int(*_directive(text, "exit")),
        tuple(int(part) for word in _directive(text, "python") for part in word.lstrip(">=").split(".")),
        _directive(text, "needs"),
        expected if marked else None,
    )


def _directive(text: str, name: str, known: tuple[str, ...] | None = None) -> tuple[str, ...]:
    found = re.search(rf"^# {name}: (.*)$", text, re.MULTILINE)
    words = tuple(found[1].split()) if found else ()
    assert known is None or set(words) <= set(known), f"{name}: {words}"
    return words


def all_scripts() -> list[Script]:
    """The scripts of this folder, by name."""
    return [read_script(path) for path in sorted(HERE.glob("*.py")) if path.name not in NOT_SCRIPTS]


def for_standard_library(script: Script, context: str) -> str:
    """The script as it is, with the context whose rules ours must keep."""
    return script.text.replace(CONTEXT_LINE, _context_line("fork" if context in ("default", *CLUSTERS) else context))


def for_ours(script: Script, context: str) -> str:
    """The script on our pool."""
    text = STANDARD_IMPORT.sub(r"from futures_cluster import \1", script.text)
    if "\nimport concurrent.futures\n" in text:
        text = text.replace("concurrent.futures", "futures_cluster")
    if context in CLUSTERS:
        text = text.replace("import ProcessPoolExecutor", "import Executor as ProcessPoolExecutor")
    return text if context in ("default", *CLUSTERS) else text.replace(CONTEXT_LINE, _context_line(context))


def _context_line(method: str) -> str:
    return f'CONTEXT = __import__("multiprocessing").get_context("{method}")\n'


class Run:
    """A script that runs as a program."""

    def __init__(self, text: str, name: str, mode: str, folder: Path, environment: dict[str, str]) -> None:
        folder.mkdir()
        self.folder = folder
        program = folder / f"{name}.py"
        stdin: Any = subprocess.DEVNULL
        prefix: list[str] = []
        if mode == "-c":
            arguments = ["-c", text]
        elif mode == "module":
            program = folder / "package" / f"{name}.py"
            program.parent.mkdir()
            (program.parent / "__init__.py").touch()
            arguments = ["-m", f"package.{name}"]
        elif mode == "stdin":
            arguments = ["-"]
            stdin = subprocess.PIPE
        elif mode == "ipython":
            arguments = ["-P", str(HERE / "cells.py"), str(program)]
        else:
            arguments = [str(program)]
        if mode in STREAMS:
            prefix = ["sh", "-c", f'exec "$@" {STREAMS[mode]}', "sh"]
        program.write_text(text)
        self.process = subprocess.Popen(
            [*prefix, sys.executable, *arguments],
            cwd=folder,
            env={**os.environ, **_environment(), **environment},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._input = text if mode == "stdin" else None

    def finish(self) -> Outcome:
        """Wait for its end and that of all that can still write; a script that hangs is killed and fails its test."""
        try:
            stdout, stderr = self.process.communicate(self._input, timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            stdout, stderr = self.process.communicate()
            raise AssertionError(f"hung, killed after {LIMIT_S:g} s\n{stdout}\n{stderr}") from None
        file = self.folder / "output.txt"
        return Outcome(
            self._without_folder(stdout),
            self._without_folder(stderr),
            self.process.returncode,
            self._without_folder(file.read_text()) if file.exists() else "",
        )

    def _without_folder(self, text: str) -> str:
        return text.replace(str(self.folder), "<folder>")

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *error: object) -> None:
        """End it and what it has started, if it still runs."""
        with self.process:
            if self.process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.process.pid, signal.SIGKILL)


def _environment() -> dict[str, str]:
    """The package is this checkout's, and nothing that the caller has set decides."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {"PYTHONPATH": path, "FUTURES_CLUSTER_BACKEND": "", "PYTHONHASHSEED": "0"}
