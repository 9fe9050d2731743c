"""Arrays of the caller's that tasks write into, as ``dask.array.store`` does.

Covers: numpy arrays as targets when tasks are in other processes. Does not cover: targets that pickle as what they are,
such as zarr arrays in a folder; zarr's stores in memory (``libraries``).

A numpy array pickles as a copy, so what a worker writes would be lost without a word. One that is mapped from a file
(``numpy.memmap``) goes to the workers by the name of the file; others are refused.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from dask._task_spec import DataNode

from futures_cluster.adapters import steps as st

_REFUSED = (
    "dask.array.store would write into copies of this numpy array, as worker processes get copies; store into a folder "
    "(zarr) or a numpy.memmap, use compute() instead, or use an Executor with backend='threads'"
)


class Mapped:
    """A part of a file in memory; unpickles as an array that is mapped from the same file."""

    __slots__ = ("array", "whole")

    def __init__(self, array: Any) -> None:
        whole = array
        while type(whole.base) is type(array):
            whole = whole.base
        self.array = array
        self.whole = whole

    def __reduce__(self) -> tuple[Any, ...]:
        array, whole = self.array, self.whole
        start = array.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
        mode = "r" if whole.mode == "r" else "r+"
        return _map, (whole.filename, mode, whole.offset, whole.nbytes, start, array.shape, array.dtype, array.strides)


def _map(filename: str, mode: str, offset: int, size: int, start: int, shape: Any, dtype: Any, strides: Any) -> Any:
    import numpy as np

    whole: Any = np.memmap(filename, np.uint8, mode, offset, (size,))  # type: ignore[call-overload]
    return np.ndarray(shape, dtype, whole, start, strides)


def share_targets(steps: list[st.Step], inputs: Sequence[Any]) -> None:
    """Let tasks in other processes write into the arrays that these steps store into.

    Parameters
    ----------
    steps : list
        Of one task; targets are replaced in place.
    inputs : sequence
        Groups of nodes and futures, whose values come before those of the steps.

    Raises
    ------
    ValueError
        If a target is a numpy array in this process's memory.
    """
    core = sys.modules.get("dask.array.core")
    if core is None:
        return
    for at, (function, args, places, drops, key) in enumerate(steps):
        if function is not st.call_with_keywords or args[0] is not core.load_store_chunk:
            continue
        position = 3  # function, keywords, values, target
        number = dict(places).get(position)
        if number is None:
            args = (*args[:position], _shared(args[position]), *args[position + 1 :])
            steps[at] = (function, args, places, drops, key)
        elif number < len(inputs):
            node: Any = getattr(getattr(inputs[number], "last", None), "node", None)
            if type(node) is DataNode and _is_numpy(node.value):
                raise ValueError(_REFUSED)


def _shared(target: Any) -> Any:
    """Return the target, or what stands for it."""
    if not _is_numpy(target):
        return target
    import numpy as np

    if type(target) is np.memmap:
        mapped = Mapped(target)
        if mapped.whole.filename is not None and mapped.whole.mode != "c":
            return mapped
    raise ValueError(_REFUSED)


def _is_numpy(target: Any) -> bool:
    import numpy as np

    return isinstance(target, np.ndarray)
