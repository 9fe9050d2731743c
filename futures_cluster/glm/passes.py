"""One pass over a block of rows: the sums that solvers need, in one flat vector.

Covers: loss, gradient and Hessian of dense and CSR rows, Hessians times a vector, in pieces that fit the cache. Does
not cover: the order of additions (``trees``), where blocks are and which workers run the passes (``sums``), penalties
and the division by the total weight (``objective``).

The way of data::

    RowBlock --segments--> segment_sums (pieces: X @ b, family.derivatives, X' g, X' h X) --tree_sum--> flat vector

Why in pieces: ``X' diag(h) X`` of a large array would write and read a copy of it; a piece of some hundred kilobytes is
scaled in the cache, and read from memory once for everything. numpy releases the interpreter's lock in each step, so
threads work on different segments. Why segments: how rows are cut depends on the shape of the block alone, and partial
sums are added in the order of a fixed tree; so the result has the same bits for any number of threads, and whatever
order they finish in.

Conventions: ``theta`` is flat; reshaped to ``(features + intercept, outputs)`` its last row is the intercept. The
vector of a pass of ``order`` 0, 1 or 2 is ``[weight, loss, gradient (theta's size), Hessian]``. The Hessian has, for
each pair of outputs ``k <= l``, one symmetric matrix of ``features + intercept``. float32 rows are widened piece by
piece, and everything is summed in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import scipy.sparse

from futures_cluster.glm.array_types import Array
from futures_cluster.glm.centering import CenteredRows
from futures_cluster.glm.families import Family
from futures_cluster.glm.rowblocks import RowBlock
from futures_cluster.glm.trees import tree_sum

#: Of a dense piece, in numbers. 64 Ki doubles are half a megabyte: with its scaled copy it fits a core's L2 cache.
PIECE_NUMBERS = 64 * 1024
#: Minimum number of rows of a piece, as calls of numpy take a microsecond each.
PIECE_ROWS = 512
#: Pieces a segment: enough that threads seldom meet, few enough that they end together.
SEGMENT_PIECES = 24
#: Maximum count of numbers in the partial sums of all segments of a block.
SUMS_NUMBERS = 8 * 1024 * 1024
#: Linear predictors so far on a side have no loss left, and say nothing about a step.
FAR_BEYOND = 100.0
#: Rows of a segment of a CSR matrix, which is one piece.
SPARSE_ROWS = 16 * 1024


def pairs_of(outputs: int) -> list[tuple[int, int]]:
    """Return pairs of outputs with a matrix of their own in the Hessian.

    Examples
    --------
    >>> pairs_of(2)
    [(0, 0), (0, 1), (1, 1)]
    """
    return [(k, other) for k in range(outputs) for other in range(k, outputs)]


def sums_size(features: int, intercept: bool, outputs: int, order: int) -> int:
    """Return numbers in the vector of a pass."""
    rows = features + intercept
    size = 2 + (rows * outputs if order >= 1 else 0)
    return size + (len(pairs_of(outputs)) * rows * rows if order >= 2 else 0)


def segments_of(block: RowBlock, size: int) -> list[tuple[int, int]]:
    """Return the ``(start, stop)`` of segments of a block; ``size`` is the vector's."""
    n_rows = block.n_rows
    if block.is_sparse:
        rows = SPARSE_ROWS
    else:
        rows = SEGMENT_PIECES * piece_rows(block.n_features)
    most = max(4, SUMS_NUMBERS // size)
    rows = max(rows, -(-n_rows // most))
    return [(start, min(start + rows, n_rows)) for start in range(0, n_rows, rows)]


def piece_rows(n_features: int) -> int:
    """Return rows of a dense piece."""
    return max(PIECE_ROWS, PIECE_NUMBERS // max(n_features, 1))


Runner = Callable[[Callable[..., Any], Iterable[Any]], Iterable[Any]]


def block_sums(
    block: RowBlock,
    family: Family,
    intercept: bool,
    theta: Array,
    order: int,
    stride: int = 1,
    run: Runner = map,
) -> Array:
    """Return the vector of one pass over a block.

    Parameters
    ----------
    order : int
        0 for the loss, 1 also for the gradient, 2 also for the Hessian.
    stride : int
        Distance of the pieces that are looked at: a sample of the rows.
    run : callable
        ``map``, or that of a pool of threads.
    """
    size = sums_size(block.n_features, intercept, family.outputs, order)
    beta = theta.reshape(-1, family.outputs)

    def one(segment: tuple[int, int]) -> Array:
        return _segment_sums(block, family, intercept, beta, order, size, segment, stride)

    return _sum_of_segments(block, size, one, run)


def _sum_of_segments(block: RowBlock, size: int, one: Callable[[tuple[int, int]], Array], run: Runner) -> Array:
    """Return the sum of the vectors ``one(segment)`` of a block, of this size."""
    if block.n_rows == 0:
        return np.zeros(size)

    def quietly(segment: tuple[int, int]) -> Array:
        # Of the thread: what overflows is infinite, and the solver's business.
        with np.errstate(all="ignore"):
            return one(segment)

    return tree_sum(list(run(quietly, segments_of(block, size))))


def _segment_sums(
    block: RowBlock,
    family: Family,
    intercept: bool,
    beta: Array,
    order: int,
    size: int,
    segment: tuple[int, int],
    stride: int,
) -> Array:
    p, outputs = beta.shape
    q = block.n_features
    out = np.zeros(size)
    n_slopes = p * outputs if order >= 1 else 0
    gradient = out[2 : 2 + n_slopes].reshape(-1, outputs)
    pairs = pairs_of(outputs) if order == 2 else []
    hessian = out[2 + n_slopes :].reshape(len(pairs), p, p)
    coef = np.ascontiguousarray(beta[:q, 0] if outputs == 1 else beta[:q])
    offset = beta[q] if intercept else None
    scaled: Array = None
    for x, y, weights in block.pieces(segment, piece_rows(q), stride, sparse_as_dense=order == 2):
        eta = x @ coef
        if offset is not None:
            eta += offset[0] if outputs == 1 else offset
        loss, slope, curvature = family.derivatives(y, eta, order)
        if weights is None:
            out[0] += len(y)
            out[1] += loss.sum()
        else:
            out[0] += weights.sum()
            out[1] += weights @ loss
        if order == 0:
            continue
        assert slope is not None
        if weights is not None:
            slope *= weights if outputs == 1 else weights[:, None]
        if order == 1:
            gradient[:q] += _transposed_product(x, slope).reshape(q, outputs)
            if intercept:
                gradient[q] += slope.sum(axis=0)
            continue
        assert curvature is not None
        weights_of_pairs = _curvature_of_pairs(curvature, weights, pairs, outputs)
        both = x.T @ np.column_stack([slope, weights_of_pairs] if intercept else [slope])
        gradient[:q] += both[:, :outputs]
        if intercept:
            gradient[q] += slope.sum(axis=0)
            hessian[:, :q, q] += both[:, outputs:].T
            hessian[:, q, q] += weights_of_pairs.sum(axis=0)
        if scaled is None:
            scaled = np.empty_like(x)
        for index, (k, other) in enumerate(pairs):
            root = np.sqrt(np.abs(weights_of_pairs[:, index]))
            part = np.multiply(x, root[:, None], out=scaled[: len(x)])
            product = part.T @ part  # numpy sees that both are one array, and computes half of it
            if k == other:
                hessian[index, :q, :q] += product
            else:
                hessian[index, :q, :q] -= product
    if order == 2 and intercept:
        hessian[:, q, :q] = hessian[:, :q, q]
    return out


def _curvature_of_pairs(curvature: Array, weights: Array | None, pairs: list[tuple[int, int]], outputs: int) -> Array:
    """Return second derivatives by pairs of outputs, of shape ``(rows, pairs)``."""
    if outputs == 1:
        result = curvature[:, None]
    else:
        result = np.empty((len(curvature), len(pairs)))
        for index, (k, other) in enumerate(pairs):
            if k == other:
                # As the sum of the others, so that all classes together have no curvature, whatever rounding does.
                result[:, index] = curvature[:, k] * (curvature[:, :k].sum(axis=1) + curvature[:, k + 1 :].sum(axis=1))
            else:
                result[:, index] = -curvature[:, k] * curvature[:, other]
    return result if weights is None else result * weights[:, None]


def block_product(
    block: RowBlock, family: Family, intercept: bool, theta: Array, vector: Array, run: Runner = map
) -> Array:
    """Return the Hessian at ``theta`` times a vector, without the matrix; flat."""
    q, outputs = block.n_features, family.outputs
    # One product with both, as reading the rows is what takes the time.
    both = np.concatenate([theta.reshape(-1, outputs), vector.reshape(-1, outputs)], axis=1)
    coef = np.ascontiguousarray(both[:q])

    def one(segment: tuple[int, int]) -> Array:
        result = np.zeros((q + intercept, outputs))
        for x, y, weights in block.pieces(segment, piece_rows(q), 1, sparse_as_dense=False):
            eta_both = x @ coef
            if intercept:
                eta_both += both[q]
            eta, change = eta_both[:, :outputs], eta_both[:, outputs:]
            if outputs == 1:
                slope = family.curvature(y, np.ascontiguousarray(eta[:, 0]))[:, None] * change
            else:
                curvature = family.curvature(y, eta)
                slope = curvature * (change - (curvature * change).sum(axis=1, keepdims=True))
            if weights is not None:
                slope *= weights[:, None]
            result[:q] += _transposed_product(x, slope)
            if intercept:
                result[q] += slope.sum(axis=0)
        return result.ravel()

    return _sum_of_segments(block, theta.size, one, run)


def _transposed_product(x: Any, right: Array) -> Array:
    return x.transposed_product(right) if isinstance(x, CenteredRows) else x.T @ right


def _transposed_square_product(x: Any, right: Array) -> Array:
    if isinstance(x, CenteredRows):
        return x.transposed_square_product(right)
    squares = x.multiply(x).tocsr() if scipy.sparse.issparse(x) else x * x
    return squares.T @ right


def block_images(block: RowBlock, family: Family, intercept: bool, theta: Array, vectors: Array) -> Array:
    """Return the Hessian times several vectors, and their squares; one output.

    The square of a vector along which the rows hardly vary is exact here, and drowns in the Hessian. After it come the
    vectors' squares without curvature, ``sum(w * (x v)**2)``, and those of the columns.
    """
    q = block.n_features
    images = np.zeros(vectors.shape)
    own = np.zeros((2, vectors.shape[1]))
    columns = np.zeros((q, 1))
    for x, y, weights in block.pieces((0, block.n_rows), piece_rows(q), 1, sparse_as_dense=False):
        eta, change = x @ theta[:q], x @ vectors[:q]
        if intercept:
            eta += theta[q]
            change += vectors[q]
        with np.errstate(all="ignore"):
            curvature = family.curvature(y, eta)
        slope = change * (curvature if weights is None else curvature * weights)[:, None]
        images[:q] += _transposed_product(x, slope)
        if intercept:
            images[q] += slope.sum(axis=0)
        weighted = change if weights is None else change * weights[:, None]
        own += [np.einsum("ij,ij->j", change, slope), np.einsum("ij,ij->j", change, weighted)]
        columns += _transposed_square_product(x, np.ones((len(y), 1)) if weights is None else weights[:, None])
    return np.concatenate([images.ravel(), own.ravel(), columns.ravel()])


def block_recession(block: RowBlock, family: Family, intercept: bool, theta: Array, direction: Array) -> Array:
    """Return the least and largest ``Family.recession`` in a direction.

    The largest is that of rows that are not yet far beyond where the loss ends. Then come the least recession of
    ``theta`` itself as a direction, and the sums of squares of the columns. Rows without weight do not count.
    """
    q, outputs = block.n_features, family.outputs
    both = np.concatenate([theta.reshape(-1, outputs), direction.reshape(-1, outputs)], axis=1)
    least, most, least_so_far, squares = np.inf, -np.inf, np.inf, np.zeros((q, 1))
    for x, y, weights in block.pieces((0, block.n_rows), piece_rows(q), 1, sparse_as_dense=False):
        eta = x @ both[:q]
        if intercept:
            eta += both[q]
        eta, change = (eta[:, 0], eta[:, 1]) if outputs == 1 else (eta[:, :outputs], eta[:, outputs:])
        counts = np.ones(len(y), dtype=bool) if weights is None else weights > 0
        goes, went = family.recession(y, change)[counts], family.recession(y, eta)[counts]
        least = min(least, float(np.min(goes, initial=np.inf)))
        least_so_far = min(least_so_far, float(np.min(went, initial=np.inf)))
        most = max(most, float(np.max(goes, where=np.abs(went) <= FAR_BEYOND, initial=-np.inf)))
        squares += _transposed_square_product(x, counts[:, None].astype(np.float64))
    return np.concatenate([[least, most, least_so_far], squares.ravel()])


def block_saturated(block: RowBlock, family: Family) -> float:
    """Return the summed loss of perfect predictions."""
    least = family.saturated(block.y)
    if isinstance(least, float):
        return least * block.n_rows
    return float(least.sum() if block.weights is None else block.weights @ least)


def block_diagonal(block: RowBlock, family: Family, intercept: bool, theta: Array, run: Runner = map) -> Array:
    """Return the diagonal of the Hessian of the summed loss, flat, as ``theta``."""
    q, outputs = block.n_features, family.outputs
    beta = theta.reshape(-1, outputs)

    def one(segment: tuple[int, int]) -> Array:
        result = np.zeros(beta.shape)
        for x, y, weights in block.pieces(segment, piece_rows(q), 1, sparse_as_dense=False):
            eta = x @ beta[:q]
            if intercept:
                eta += beta[q]
            curvature = family.curvature(y, eta[:, 0] if outputs == 1 else eta)
            curvature = curvature[:, None] if outputs == 1 else curvature * (1.0 - curvature)
            if weights is not None:
                curvature = curvature * weights[:, None]
            result[:q] += _transposed_square_product(x, curvature)
            if intercept:
                result[q] += curvature.sum(axis=0)
        return result.ravel()

    return _sum_of_segments(block, theta.size, one, run)
