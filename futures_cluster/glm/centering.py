"""Centres of columns, so that a large mean does not hide what varies.

A column of seconds since 1970 has a mean of 1.7e9 and, over some minutes, a standard deviation of 100. Of its products
in a Hessian, 1e14 parts are the mean and one part says something; doubles keep 1e16. With an intercept, a constant
subtracted from a column changes nothing but the intercept, so passes subtract one from each column whose mean is far
from zero.

The centre need not be the mean. It must lie within some standard deviations of it, and the mean of a sample of one
row in ``SAMPLE_STRIDE`` lies within ``sqrt(SAMPLE_STRIDE)`` of them, whatever the order of the rows: rows so different
would make the deviation of all rows as large. So a large array is sampled, and a block gives its own moments, which
are added over all blocks.

Does not cover: where centres are subtracted (``RowBlock.pieces``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse

from futures_cluster.glm.array_types import Array

#: A column is centred if its mean is as many standard deviations from zero. Nearer ones lose two digits at most, and
#: centring them would copy each piece of each pass.
FAR = 10.0
#: A block with more numbers is sampled, unless its rows have weights, which may be zero for all of a sample.
SAMPLE_FROM = 1_000_000
SAMPLE_STRIDE = 32
PIECE_ROWS = 4096


def moments_of(block: Any) -> Any:
    """Return weighted sums of columns and their squares, shape ``(2, features)``.

    Those of a large ``RowBlock`` are estimated by a sample of its rows.

    Columns of a CSR block that are zero in most rows are not far from zero, and get zeros, in a sparse matrix.
    """
    n_rows, n_features = block.n_rows, block.n_features
    sums = np.zeros((2, n_features))
    weight = 0.0
    stride = SAMPLE_STRIDE if block.weights is None and n_rows * n_features > SAMPLE_FROM else 1
    for start in range(0, n_rows, PIECE_ROWS * stride):
        segment = (start, min(start + PIECE_ROWS * stride, n_rows))
        for x, _, weights in block.pieces(segment, PIECE_ROWS, stride, sparse_as_dense=False):
            weights = np.ones(x.shape[0]) if weights is None else weights
            weight += float(weights.sum())
            with np.errstate(all="ignore"):
                sums[0] += x.T @ weights
                sums[1] += (x.multiply(x) if block.is_sparse else x * x).T @ weights
    if weight > 0:
        with np.errstate(all="ignore"):
            sums *= (n_rows if block.weights is None else float(block.weights.sum())) / weight
    if block.is_sparse:
        dense = np.bincount(block.x.indices, minlength=n_features) > 0.5 * n_rows
        return scipy.sparse.csr_matrix(np.where(dense, sums, 0.0))
    return sums


def column_center(moments: Sequence[Any], weight: float) -> Array | None:
    """Return what to subtract from the columns of all blocks, or None.

    Parameters
    ----------
    moments : sequence of arrays or sparse matrices
        ``moments_of`` each block.
    weight : float
        Sum of the weights of all rows.

    Examples
    --------
    >>> column_center([np.array([[3000.0, 3.0], [3e6 + 2, 5.0]])], 3.0).tolist()
    [1000.0, 0.0]
    """
    with np.errstate(all="ignore"):
        total = sum(each.toarray() if scipy.sparse.issparse(each) else each for each in moments) / weight
        mean, square = total
        # mean**2 > FAR**2 * variance, without the difference in which the variance would drown.
        is_far = (1 + FAR**2) * mean * mean > FAR**2 * square
    center = np.where(is_far, mean, 0.0)
    return center if np.any(center) else None


class CenteredRows:
    """CSR rows less a centre, for products with dense arrays; the zeros stay zeros in memory."""

    def __init__(self, rows: Any, center: Array) -> None:
        self.rows = rows
        self.center = center

    def __matmul__(self, right: Array) -> Array:
        return self.rows @ right - self.center @ right

    def transposed_product(self, right: Array) -> Array:
        """Return ``self.T @ right``."""
        return self.rows.T @ right - np.multiply.outer(self.center, right.sum(axis=0))

    def transposed_square_product(self, right: Array) -> Array:
        """Return ``(self * self).T @ right``."""
        rows = self.rows
        stored = rows.data - self.center[rows.indices]
        squares = scipy.sparse.csr_matrix((stored * stored, rows.indices, rows.indptr), shape=rows.shape)
        present = scipy.sparse.csr_matrix((np.ones_like(stored), rows.indices, rows.indptr), shape=rows.shape)
        absent = right.sum(axis=0) - present.T @ right
        return squares.T @ right + (self.center**2)[:, None] * np.maximum(absent, 0.0)


def with_center(theta: Array, center: Array | None, outputs: int) -> Array:
    """Return the flat parameters for centred columns; the intercept is another."""
    if center is None:
        return theta
    moved = theta.reshape(-1, outputs).copy()
    moved[-1] += center @ moved[:-1]
    return moved.ravel()


def without_center(theta: Array, center: Array | None, outputs: int) -> Array:
    """Return the inverse of ``with_center``."""
    return theta if center is None else with_center(theta, -center, outputs)
