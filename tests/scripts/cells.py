"""Runs a script's cells in a real kernel, as Jupyter does: ``python -P cells.py SCRIPT``.

It prints what the cells print. A cell that must raise says so by ``# raises: Name``, and by ``# shows: text`` what its
traceback must contain. When a cell does anything else, or does not end in time, this ends with an error and the reason
on stderr. It is a process of its own, because a kernel's client keeps an event loop until its process ends.

Does not cover: which scripts run like this (``harness``).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from jupyter_client.manager import start_new_kernel

START_LIMIT_S = 30.0
# A failing task once hung its cell for ever: long enough for a slow machine, short for a test.
CELL_LIMIT_S = 15.0


def split(text: str) -> list[str]:
    """The cells of a script: one begins at each line ``# %%``; what comes before the first is a cell, too."""
    text = text.partition("\n# expected:\n")[0]
    return [cell for cell in re.split(r"^# %%.*\n", text, flags=re.MULTILINE) if cell.strip()]


def run(client: Any, cell: str) -> str | None:
    """Run one cell and pass its output on; what is wrong with it, if anything is."""
    traces: list[str] = []

    def hook(message: dict[str, Any]) -> None:
        content = message["content"]
        if message["msg_type"] == "stream":
            stream = sys.stdout if content["name"] == "stdout" else sys.stderr
            stream.write(content["text"])
        elif message["msg_type"] == "error":
            traces.append(re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(content["traceback"])))

    # The kernel does not get what is said about its traceback: tracebacks show the calling cell, too.
    code = re.sub(r"^# (raises|shows): .*\n", "", cell, flags=re.MULTILINE)
    try:
        reply = client.execute_interactive(code, timeout=CELL_LIMIT_S, output_hook=hook, allow_stdin=False)
    except TimeoutError:
        return f"did not end within {CELL_LIMIT_S:g} s"
    trace = "\n".join(traces)
    wanted = re.search(r"^# raises: (\w+)$", cell, re.MULTILINE)
    if reply["content"].get("ename") != (wanted[1] if wanted else None):
        return f"raised {reply['content'].get('ename')}:\n{trace}"
    missing = [text for text in re.findall(r"^# shows: (.+)$", cell, re.MULTILINE) if text not in trace]
    return f"its traceback does not show {missing}:\n{trace}" if missing else None


def main(path: str) -> int:
    """Run all cells, until one is wrong."""
    manager, client = start_new_kernel(startup_timeout=START_LIMIT_S, cwd=str(Path(path).parent))
    try:
        for cell in split(Path(path).read_text()):
            if (wrong := run(client, cell)) is not None:
                print(f"this cell {wrong}\n\n{cell}", file=sys.stderr)
                return 1
        return 0
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
