"""Profiles: trees of samples, and the file that speedscope reads.

Covers: merging, copying, converting. Does not cover: sampling (``services.worker.profiler``).

A tree is ``[samples, {frame: tree}]``.
"""

from __future__ import annotations

from typing import Any

Tree = list[Any]
#: Between two samples, as workers take them.
SAMPLE_INTERVAL_S = 0.02
#: Frames of a merged tree on one level; the rest is put together.
MAX_CHILDREN = 400
_OTHERS = "(others)"


def new_tree() -> Tree:
    """Return a tree without samples."""
    return [0, {}]


def merge(into: Tree, tree: Tree) -> None:
    """Add the samples of a tree to another one.

    Examples
    --------
    >>> into = [1, {"f": [1, {}]}]
    >>> merge(into, [2, {"f": [1, {"g": [1, {}]}]}])
    >>> into
    [3, {'f': [2, {'g': [1, {}]}]}]
    """
    stack = [(into, tree)]
    while stack:
        target, source = stack.pop()
        target[0] += source[0]
        children = target[1]
        for name, child in source[1].items():
            if name not in children and len(children) >= MAX_CHILDREN:
                name = _OTHERS
            stack.append((children.setdefault(name, new_tree()), child))


def copy(tree: Tree) -> Tree:
    """Return a copy that shares nothing with the tree."""
    made = new_tree()
    merge(made, tree)
    return made


def speedscope(tree: Tree, name: str) -> dict[str, Any]:
    """Return the tree in the format of https://www.speedscope.app.

    Examples
    --------
    >>> made = speedscope([3, {"f": [3, {"g": [1, {}]}]}], "run")
    >>> made["shared"]["frames"], made["profiles"][0]["samples"], made["profiles"][0]["weights"]
    ([{'name': 'f'}, {'name': 'g'}], [[0], [0, 1]], [0.04, 0.02])
    """
    frames: dict[str, int] = {}
    samples: list[list[int]] = []
    weights: list[float] = []
    stack: list[tuple[Tree, list[int]]] = [(tree, [])]
    while stack:
        node, path = stack.pop()
        own = node[0] - sum(child[0] for child in node[1].values())
        if own > 0 and path:
            samples.append(path)
            weights.append(round(own * SAMPLE_INTERVAL_S, 6))
        for frame, child in reversed(node[1].items()):
            stack.append((child, [*path, frames.setdefault(frame, len(frames))]))
    return {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "exporter": "futures_cluster",
        "name": name,
        "shared": {"frames": [{"name": frame} for frame in frames]},
        "profiles": [
            {
                "type": "sampled",
                "name": name,
                "unit": "seconds",
                "startValue": 0,
                "endValue": round(sum(weights), 6),
                "samples": samples,
                "weights": weights,
            }
        ],
    }
