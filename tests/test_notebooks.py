"""Failing tasks in IPython and in a Jupyter kernel: the traceback comes, and the next cell runs.

Needs IPython, and for the kernel ipykernel and nbclient.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from futures_cluster.wire.codec.exceptions import dump_error, load_error

pytest.importorskip("IPython")


def parse() -> Any:
    return json.loads("{")


def chained() -> Any:
    try:
        return parse()
    except ValueError as error:
        raise LookupError("no document") from error


def several() -> Any:
    raise ExceptionGroup("several", [ValueError(1), KeyError(2)])


def endless() -> Any:
    return endless()


def rebuilt(function: Callable[[], Any]) -> BaseException:
    try:
        function()
    except Exception as error:
        return load_error(dump_error(error))
    raise AssertionError("nothing was raised")


def without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("mode", ["Plain", "Context", "Verbose", "Minimal"])
@pytest.mark.parametrize("function", [parse, chained, several, endless])
def test_every_mode_of_ipython_s_tracebacks(function: Callable[[], Any], mode: str) -> None:
    from IPython.core import ultratb

    error = rebuilt(function)
    try:
        formatter = ultratb.AutoFormattedTB(mode=mode, theme_name="nocolor")
    except (TypeError, ValueError) as reason:  # of an older IPython
        pytest.skip(f"this IPython has no such mode: {reason}")
    text = without_colours("\n".join(formatter.structured_traceback(type(error), error, error.__traceback__)))
    assert type(error).__name__ in text
    if mode in ("Context", "Verbose") and function is parse:
        assert re.search(r"-->.*return json\.loads", text)
        assert "in parse" in text and "JSONDecoder.decode" in text


def test_a_cell_of_an_interactive_shell() -> None:
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    output = io.StringIO()
    with redirect_stdout(output):
        shell.run_cell(
            "import json\nfrom futures_cluster import Executor\nex = Executor(1)\nex.submit(json.loads, '{').result()\n"
        )
        after = shell.run_cell("ex.shutdown(); 6 * 7")
    assert after.result == 42
    text = without_colours(output.getvalue())
    assert "JSONDecodeError" in text and re.search(r"-->.*_default_decoder\.decode", text)
    shell.reset()
    InteractiveShell.clear_instance()


NOTEBOOK = """
import json, sys
import nbclient, nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager


class Manager(AsyncKernelManager):
    @property
    def kernel_spec(self):  # this Python, whatever kernels are installed
        return KernelSpec(argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"], name="here")


cells = [nbformat.v4.new_code_cell(cell) for cell in json.loads(sys.argv[1])]
notebook = nbformat.v4.new_notebook(cells=cells)
nbclient.NotebookClient(notebook, timeout=60, allow_errors=True, kernel_manager_class=Manager).execute()
print(json.dumps([cell.outputs for cell in notebook.cells]))
"""


def test_cells_of_a_jupyter_kernel(tmp_path: Path) -> None:
    for module in ("ipykernel", "nbclient"):
        pytest.importorskip(module)
    cells = [
        "import json\nfrom futures_cluster import Executor\nex = Executor(1)",
        "ex.submit(json.loads, '{').result()",
        "list(ex.map(lambda x: 1 / x, [1, 0]))",
        "with ex.progress(title='work', interval_s=0.01):\n    assert sum(ex.map(abs, range(7))) == 21\nex",
        "ex.shutdown()\nprint(6 * 7)",
        "ex",
    ]
    answer = subprocess.run(
        [sys.executable, "-c", NOTEBOOK, json.dumps(cells)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "IPYTHONDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert answer.returncode == 0, answer.stderr
    outputs = json.loads(answer.stdout)
    assert outputs[1][0]["ename"] == "JSONDecodeError"
    assert re.search(r"-->.*_default_decoder\.decode", without_colours("\n".join(outputs[1][0]["traceback"])))
    assert outputs[2][0]["ename"] == "ZeroDivisionError"
    bar, table = (output["data"]["text/html"] for output in outputs[3])
    assert '<progress value="7" max="7"' in bar and "work: [####" in bar and "7 of 7 tasks" in bar
    assert re.search(r'Workers.*Tasks.*Memory.*<a href="http://127.0.0.1:', table)
    assert outputs[4][0]["text"] == "42\n"
    assert "shut down" in outputs[5][0]["data"]["text/html"]
