"""A bar that shows how many tasks are done.

Covers: counting an executor's tasks, drawing a line on terminals and a bar in notebooks. Does not cover: single
tasks, and where they run (``Executor.workers``, the status page).

Of an executor nothing is counted task by task: the client knows how many it has submitted, and the scheduler how many
of these are not done. A thread compares the two ten times a second. Of futures those that were pending are looked at
again, less often when they are many; they get no callbacks, for which their results would have to be brought here.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from html import escape
from typing import Any, Self, TextIO

from futures_cluster import clocks, numbers

#: Characters of the bar itself.
WIDTH = 40
#: The part of the time that looking may take.
MAX_SHARE = 0.05


def line(done: int, total: int, elapsed_s: float, title: str = "") -> str:
    """Return the text of a bar.

    Examples
    --------
    >>> line(3, 4, 65.0)
    '[##############################          ]  75% | 3 of 4 tasks | 1min 5.0s'
    """
    part = done / total if total else 1.0
    bar = "#" * int(part * WIDTH)
    minutes, seconds = divmod(elapsed_s, 60)
    time_text = f"{int(minutes)}min {seconds:.1f}s" if minutes else f"{seconds:.1f}s"
    start = f"{title}: " if title else ""
    return f"{start}[{bar:<{WIDTH}}] {int(part * 100):3}% | {done} of {total} tasks | {time_text}"


def markup(done: int, total: int, text: str) -> str:
    """Return a bar for notebooks, as HTML that every one of them shows."""
    return (
        f'<progress value="{done}" max="{max(total, 1)}" style="width: 60%"></progress><br><code>{escape(text)}</code>'
    )


class Progress:
    """Shows how far the tasks of an executor are, or some futures, inside of a ``with`` block.

    Parameters
    ----------
    executor : Executor
    futures : iterable of Future or None
        Only these count; otherwise what is submitted in the block.
    title : str
        Stands before the bar.
    file : text file or None
        Where to draw text. By default a notebook gets a bar in HTML, and everything else text on the standard error
        output. A file that is no terminal gets the last line only.
    interval_s : float
        Between two looks.

    Attributes
    ----------
    done, total : int
        Tasks, when last looked.

    Examples
    --------
    >>> import sys
    >>> from futures_cluster import Executor
    >>> with Executor(backend="sync") as ex:
    ...     with ex.progress(file=sys.stdout):
    ...         _ = list(ex.map(abs, range(5)))  # doctest: +ELLIPSIS
    [########################################] 100% | 5 of 5 tasks | ...s
    """

    def __init__(
        self,
        executor: Any,
        futures: Iterable[Future[Any]] | None = None,
        title: str = "",
        file: TextIO | None = None,
        interval_s: float = 0.1,
    ) -> None:
        self.done: int = 0
        self.total: int = 0
        self._engine = executor._engine
        self._pending = list(futures) if futures is not None else None
        self._title = title
        self._file = file
        self._interval_s = numbers.amount("interval_s", interval_s, 0.001, 3600)
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self._drawn = ""
        self._cell: Any = None  # the handle of the bar in a notebook

    def __enter__(self) -> Self:
        self._out = self._file if self._file is not None else sys.stderr
        self._cell = _display(markup(0, 0, self._title), self._title) if self._file is None else None
        self._redraws = self._cell is not None or bool(getattr(self._out, "isatty", lambda: False)())
        self._start = clocks.monotonic()
        self._before = 0
        if self._pending is None:
            submitted, left = self._engine.count_tasks()
            self._before = submitted - left
        else:
            self.total = len(self._pending)
        self._thread = threading.Thread(target=self._run, name="futures_cluster-progress", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._end.set()
        if self._thread is not None:
            self._thread.join()
        self.look()
        self._draw(last=True)

    def look(self) -> None:
        """Count."""
        if self._pending is not None:
            self._pending = [future for future in self._pending if not future.done()]
            self.done = self.total - len(self._pending)
            return
        with contextlib.suppress(RuntimeError):  # the executor has been shut down
            submitted, left = self._engine.count_tasks()
            self.total = max(self.total, submitted - self._before)
            self.done = max(self.done, min(self.total, self.total - left))

    def _line(self) -> str:
        return line(self.done, self.total, clocks.monotonic() - self._start, self._title)

    def _run(self) -> None:
        pause_s = self._interval_s
        while not self._end.wait(pause_s):
            begun = clocks.monotonic()
            self.look()
            pause_s = max(self._interval_s, (clocks.monotonic() - begun) / MAX_SHARE)
            if self._redraws and self.total:
                self._draw()

    def _draw(self, last: bool = False) -> None:
        text = self._line()
        with contextlib.suppress(Exception):  # a closed file is no reason to fail
            if self._cell is not None:
                self._cell.update(_as_data(markup(self.done, self.total, text), text), raw=True)
                return
            if self._redraws:
                shown, text = text, "\r" + text.ljust(len(self._drawn))
                self._drawn = shown
            self._out.write(text + "\n" * last)
            self._out.flush()


def _as_data(html: str, text: str) -> dict[str, str]:
    return {"text/html": html, "text/plain": text}


def _display(html: str, text: str) -> Any:
    """Show a line in a notebook, and return the handle that redraws it.

    None if output does not go to a notebook.
    """
    kernel = sys.modules.get("ipykernel.zmqshell")
    ipython = sys.modules.get("IPython")
    if kernel is None or ipython is None or not isinstance(ipython.get_ipython(), kernel.ZMQInteractiveShell):
        return None
    return ipython.display.display(_as_data(html, text), raw=True, display_id=True)
