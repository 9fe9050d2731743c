"""Folds of a cross-validation, as masks of blocks that are placed once.

Covers: which rows train and test in each fold; sums over the training rows; calls on the test rows. Does not cover:
what is fitted and scored (``paths``).

A fold of a block is a row of bits. The mask travels once for each block, whatever the number of folds; a task that sums
over a fold's training rows gives all others the weight 0. So rows are neither copied nor sent for a fold.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from futures_cluster.glm.array_types import Array
from futures_cluster.glm.rowblocks import RowBlock
from futures_cluster.glm.sums import ExecutorSums, LocalSums, Sums, submit_of


class Folds:
    """The rows of all blocks, cut into folds.

    Parameters
    ----------
    sums : LocalSums or ExecutorSums
        The placed blocks.
    splits : iterable of pairs of arrays
        Numbers of the training and of the test rows of each fold, counted over all blocks, as scikit-learn's splitters
        give them.
    n_rows : sequence of int
        Number of rows of each block.
    """

    def __init__(self, sums: Sums, splits: Iterable[tuple[Array, Array]], n_rows: Sequence[int]) -> None:
        assert isinstance(sums, LocalSums | ExecutorSums)
        self.sums = sums
        bounds = [0, *itertools.accumulate(n_rows)]
        packed: list[list[Array]] = [[] for _ in n_rows]
        for rows in itertools.chain.from_iterable(splits):
            mask = np.zeros(bounds[-1], dtype=bool)
            mask[rows] = True
            for own, start, stop in zip(packed, bounds, bounds[1:]):
                own.append(np.packbits(mask[start:stop]))
        self.number = len(packed[0]) // 2
        self.masks: list[Any] = [np.array(own) for own in packed]
        self._submit = submit_of(None)
        if isinstance(sums, ExecutorSums):
            self.masks = sums.executor.scatter(self.masks)
            self._submit = submit_of(sums.executor)

    def train(self, fold: int) -> Sums:
        """Return sums over the training rows of a fold."""
        if isinstance(self.sums, ExecutorSums):
            return TrainingSums(self.sums, self.masks, 2 * fold)
        pairs = zip(self.sums.blocks, self.masks)
        return LocalSums([on_train(pair, 2 * fold, _itself) for pair in pairs], threads=1)

    def test(self, fold: int, fn: Callable[..., Array], *args: Any) -> Array:
        """Sum ``fn(block, keep, *args)`` over all blocks; ``keep`` marks test rows."""
        sums = self.sums
        shared = [sums.share(each) if isinstance(each, np.ndarray) else each for each in args]
        pairs = zip(sums.blocks, self.masks)
        futures = [self._submit(on_test, pair, 2 * fold + 1, fn, *shared) for pair in pairs]
        return sum(future.result() for future in futures)


class TrainingSums(ExecutorSums):
    """Sums over those rows of placed blocks that one row of each mask keeps."""

    def __init__(self, whole: ExecutorSums, masks: Sequence[Any], row: int) -> None:
        super().__init__(
            whole.executor,
            whole.blocks,
            whole.n_rows,
            whole.n_features,
            is_sparse=whole.is_sparse,
            nbytes=whole.nbytes,
        )
        self.masks = masks
        self.row = row

    def _argument(self, number: int) -> Any:
        return self.blocks[number], self.masks[number]

    def _sum(self, size: int, fn: Callable[..., Array], *args: Any) -> Array:
        return super()._sum(size, on_train, self.row, fn, *args)

    def submit(self, number: int, fn: Callable[..., Any], *args: Any) -> Any:
        return super().submit(number, on_train, self.row, fn, *args)


def _kept(pair: tuple[RowBlock, Array], row: int) -> Array:
    block, masks = pair
    return np.unpackbits(masks[row], count=block.n_rows).astype(bool)


def on_train(pair: tuple[RowBlock, Array], row: int, fn: Callable[..., Any], *args: Any) -> Any:
    """Call ``fn`` with a block whose masked rows weigh nothing; a task."""
    block, keep = pair[0], _kept(pair, row)
    weights = keep.astype(np.float64) if block.weights is None else np.where(keep, block.weights, 0.0)
    return fn(replace(block, weights=weights), *args)


def on_test(pair: tuple[RowBlock, Array], row: int, fn: Callable[..., Any], *args: Any) -> Any:
    """Call ``fn`` with a block and which of its rows are meant; a task."""
    return fn(pair[0], _kept(pair, row), *args)


def _itself(block: RowBlock) -> RowBlock:
    return block


def block_target(block: RowBlock, wanted: bool) -> Array:
    """Return the coded target of a block for splitters, or zeros; a task."""
    if not wanted:
        return np.zeros(block.n_rows, dtype=np.int8)
    y = block.y if block.y.ndim == 1 else block.y[:, 0]
    return np.ascontiguousarray(y)
