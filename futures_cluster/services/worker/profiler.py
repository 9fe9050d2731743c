"""Where tasks spend their time: the stacks of the threads that execute them, looked at many times a second.

Covers: sampling in a thread of its own while a viewer looks at profiles, and merging the stacks by function to a tree.
Does not cover: showing it (``status.profiles``), code that holds the interpreter's lock for long: it is seen as often
as it lets others run.

A tree is ``[samples, {frame: tree}]``; a frame is ``function (file:line)``, with the line where the function begins.
"""

from __future__ import annotations

import os.path
import sys
import threading
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

#: Between two samples.
SAMPLE_INTERVAL_S = 0.02
#: Frames of a stack that are kept, those next to the task.
MAX_FRAMES = 60
#: Children of a frame; what comes later is put together.
MAX_CHILDREN = 200
#: The task's own frames are those that a frame of one of these modules has called.
_OUTSIDE = frozenset(
    f"futures_cluster.{name}"
    for name in ("services.worker.execution", "services.client.function_table", "engines.inprocess.slots")
)

Tree = list[Any]


def new_tree() -> Tree:
    """Return a tree without samples."""
    return [0, {}]


def stack_of(frame: FrameType | None) -> list[str]:
    """Return the functions of a thread's stack, the task's first, or none."""
    names: list[str] = []
    while frame is not None:
        code = frame.f_code
        if frame.f_globals.get("__name__") in _OUTSIDE:
            names.reverse()
            return names[:MAX_FRAMES]
        if not code.co_filename.startswith("<frozen importlib"):  # frames of an import say nothing about the task
            names.append(f"{code.co_qualname} ({os.path.basename(code.co_filename)}:{code.co_firstlineno})")
        frame = frame.f_back
    return []


def add(tree: Tree, stack: Iterable[str]) -> None:
    """Count one sample.

    Examples
    --------
    >>> tree = new_tree()
    >>> add(tree, ["f (a.py:1)", "g (a.py:5)"])
    >>> add(tree, ["f (a.py:1)"])
    >>> tree
    [2, {'f (a.py:1)': [2, {'g (a.py:5)': [1, {}]}]}]
    """
    tree[0] += 1
    for name in stack:
        children = tree[1]
        if name not in children and len(children) >= MAX_CHILDREN:
            name = "(others)"
        tree = children.setdefault(name, new_tree())
        tree[0] += 1


class Profiler:
    """Samples the threads of one worker while it runs.

    Parameters
    ----------
    threads : callable
        The identities of the threads that execute tasks now.
    """

    def __init__(self, threads: Callable[[], list[int]]) -> None:
        self._threads = threads
        self._tree = new_tree()
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="futures_cluster-profile", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._end.wait(SAMPLE_INTERVAL_S):
            self.sample()

    def sample(self) -> None:
        """Look once."""
        threads = self._threads()
        if not threads:
            return
        frames = sys._current_frames()
        stacks = [stack_of(frames.get(thread)) for thread in threads]
        del frames
        with self._lock:
            for stack in stacks:
                if stack:
                    add(self._tree, stack)

    def take(self) -> Tree:
        """Return what was sampled since the last call."""
        with self._lock:
            tree, self._tree = self._tree, new_tree()
        return tree

    def stop(self) -> None:
        """End the thread."""
        self._end.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()
