"""The fixed tree in which partial sums are added.

Covers: sums of all parts, and sums of some parts as far as the tree goes. Does not cover: what is added (``passes``),
which worker has which part (``sums``).

The tree belongs to the number of parts alone: neighbours are added, then neighbours among these sums, and a last one
without a neighbour goes up as it is. So a sum has the same bits whichever worker adds a part when, and rounding errors
grow with the depth only. A *node* is ``(level, index)``; parts are the nodes of level 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from futures_cluster.glm.array_types import Array

Node = tuple[int, int]


def fold(sums: Mapping[Node, Array], n_parts: int) -> dict[Node, Array]:
    """Add what is known of the tree; one node is left if all of it is.

    Examples
    --------
    >>> fold({(0, 0): 1.0, (0, 1): 2.0, (0, 3): 4.0, (0, 4): 8.0}, 5)
    {(0, 3): 4.0, (1, 0): 3.0, (2, 1): 8.0}
    >>> fold({(0, 3): 4.0, (1, 0): 3.0, (2, 1): 8.0, (0, 2): 16.0}, 5)
    {(3, 0): 31.0}
    """
    known = dict(sums)
    level, count = 0, n_parts
    while count > 1:
        for index in sorted(index for at, index in known if at == level and index % 2 == 0):
            left, right = (level, index), (level, index + 1)
            if index + 1 == count:
                known[level + 1, index // 2] = known.pop(left)
            elif right in known:
                known[level + 1, index // 2] = known.pop(left) + known.pop(right)
        level, count = level + 1, (count + 1) // 2
    return known


def tree_sum(parts: Sequence[Array]) -> Array:
    """Return the sum of all parts.

    Examples
    --------
    >>> tree_sum([1.0, 2.0, 3.0])
    6.0
    """
    (total,) = fold({(0, index): part for index, part in enumerate(parts)}, len(parts)).values()
    return total
