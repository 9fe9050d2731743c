"""Records the terminal that README.md shows: runs the commands, and draws what they print as docs/images/terminal.svg.

    python docs/_ext/record_terminal.py

Each line of the picture appears as long after its command as it did when it was recorded. A viewer without animations,
or one that asks for reduced motion, shows all lines at once. The picture loads no fonts and has colours for light and
dark pages.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
import time
from dataclasses import dataclass
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "docs" / "images" / "terminal.svg"

PROGRAM = """\
import os, signal, time
from concurrent.futures import ProcessPoolExecutor

def square(i):
    time.sleep(0.1)
    return i * i

if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool:
        worker = pool.submit(os.getpid).result()
        squares = pool.map(square, range(20))
        os.kill(worker, signal.SIGKILL)  # as when memory runs out
        print(sum(squares))
"""

COMMANDS = (
    "cat squares.py",
    "python squares.py 2>&1 | tail -1",
    "sed -i s/concurrent.futures/futures_cluster/ squares.py",
    "grep futures squares.py",
    "python squares.py",
)

COLUMNS = 66
#: Sizes in pixels. The width of a character is set by `textLength`, whatever font the viewer has.
CHARACTER, LINE, MARGIN, BAR = 8.4, 20, 18, 34
#: Seconds between the end of a command and the next one, for reading.
PAUSE_S = 1.2

STYLE = """
svg { color-scheme: light dark; --page: #f6f8fa; --edge: #d0d7de; --text: #24292f; --dim: #6e7781;
  --prompt: #0550ae; --changed: #8250df; --wrong: #cf222e; --right: #1a7f37; }
@media (prefers-color-scheme: dark) { svg { --page: #161b22; --edge: #30363d; --text: #e6edf3; --dim: #8b949e;
  --prompt: #79c0ff; --changed: #d2a8ff; --wrong: #ff7b72; --right: #7ee787; } }
.page { fill: var(--page); stroke: var(--edge); }
.dot { fill: var(--edge); }
text { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: var(--text);
  white-space: pre; }
.command { fill: var(--prompt); font-weight: 600; }
.changed { fill: var(--changed); font-weight: 600; }
.wrong { fill: var(--wrong); }
.right { fill: var(--right); font-weight: 600; }
.time { fill: var(--dim); text-anchor: end; }
@keyframes appear { from { opacity: 0; } to { opacity: 1; } }
g { animation: appear 1ms backwards; }
@media (prefers-reduced-motion: reduce) { g { animation: none; } }
"""


@dataclass
class Line:
    """One line of the terminal, and when it appears, in seconds since the beginning."""

    text: str
    kind: str
    at: float
    #: How long the command ran, on the last line that it printed.
    took: float | None = None


def kind_of(text: str) -> str:
    """Return the class by which a line that a command printed is drawn."""
    if "import ProcessPoolExecutor" in text:
        return "changed"
    if "BrokenProcessPool" in text:
        return "wrong"
    return "right" if text.isdigit() else "output"


def run(command: str, folder: Path, begin: float) -> list[Line]:
    """Run one command of the shell; return its lines as a terminal of this width shows them."""
    paths = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FUTURES_CLUSTER_")}
    lines = [Line(f"$ {command}", "command", begin)]
    started = time.monotonic()
    with subprocess.Popen(
        ["bash", "-c", command],
        cwd=folder,
        env=environment | {"PATH": paths, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for text in process.stdout:
            at, kind = begin + time.monotonic() - started, kind_of(text.rstrip())
            lines += [Line(part, kind, at) for part in textwrap.wrap(text.rstrip(), COLUMNS) or [""]]
    if process.returncode:
        raise RuntimeError(f"{command!r} ended with exit code {process.returncode}")
    took = time.monotonic() - started
    if command.startswith("python"):
        lines[-1].took = took
    return lines


def record() -> list[Line]:
    """Run all commands in a folder of their own."""
    lines: list[Line] = []
    begin = 0.0
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "squares.py").write_text(PROGRAM, encoding="utf-8")
        for command in COMMANDS:
            lines += run(command, Path(folder), begin)
            begin = lines[-1].at + PAUSE_S
    return lines


def draw(lines: list[Line]) -> str:
    """Return the picture."""
    width = round(COLUMNS * CHARACTER + 2 * MARGIN)
    height = BAR + len(lines) * LINE + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'role="img" aria-labelledby="title">',
        "<title id='title'>The same program, with the import of concurrent.futures and with that of "
        "futures_cluster, when a worker process is killed</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="page" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>',
        *(f'<circle class="dot" cx="{MARGIN + 4 + 18 * i}" cy="18" r="5.5"/>' for i in range(3)),
    ]
    for number, line in enumerate(lines):
        y = BAR + (number + 0.75) * LINE
        parts.append(f'<g style="animation-delay:{line.at:.2f}s">')
        indent = len(line.text) - len(line.text.lstrip())
        if text := line.text.strip():
            x = MARGIN + indent * CHARACTER
            parts.append(
                f'<text class="{line.kind}" x="{x:.1f}" y="{y:g}" textLength="{len(text) * CHARACTER:.1f}" '
                f'lengthAdjust="spacingAndGlyphs">{escape(text)}</text>'
            )
        if line.took is not None:
            parts.append(f'<text class="time" x="{width - MARGIN}" y="{y:g}">{line.took:.1f} s</text>')
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    recorded = record()
    PICTURE.write_text(draw(recorded), encoding="utf-8")
    print(*(line.text for line in recorded), sep="\n")
