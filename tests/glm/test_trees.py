"""The tree of additions: all is added, in one order, whoever adds which part."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from futures_cluster.glm.trees import fold, tree_sum


@settings(max_examples=50)
@given(st.integers(1, 40), st.integers(0, 5))
def test_the_tree_adds_all(number: int, seed: int) -> None:
    parts = list(np.random.default_rng(seed).integers(-9, 9, (number, 2)).astype(float))
    np.testing.assert_array_equal(tree_sum(parts), np.sum(parts, axis=0))


@settings(max_examples=100)
@given(st.integers(1, 40), st.integers(1, 6), st.randoms(use_true_random=False))
def test_groups_add_in_the_order_of_all(number: int, n_groups: int, choice: random.Random) -> None:
    """Texts in the place of numbers show which was added to which."""
    groups: list[dict[tuple[int, int], str]] = [{} for _ in range(n_groups)]
    for part in range(number):
        groups[choice.randrange(n_groups)][0, part] = f"({part})"
    choice.shuffle(groups)
    nodes = {node: text for group in groups for node, text in fold(group, number).items()}
    assert list(fold(nodes, number).values()) == [tree_sum([f"({part})" for part in range(number)])]


@pytest.mark.parametrize(
    ("known", "n_parts", "nodes"),
    [
        ([0], 1, [(0, 0)]),
        ([0, 1, 2, 3], 8, [(2, 0)]),
        ([1, 2], 8, [(0, 1), (0, 2)]),
        ([2], 3, [(1, 1)]),
        ([], 4, []),
    ],
)
def test_what_is_known_is_added_as_far_as_it_goes(known: list[int], n_parts: int, nodes: list[tuple[int, int]]) -> None:
    assert sorted(fold({(0, part): 1.0 for part in known}, n_parts)) == nodes
