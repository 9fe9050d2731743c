"""Regularization paths: one fit for each strength, each from the coefficients of the one before; and their scores.

Covers: the path of one fold, errors and scores of all its fits in one pass over the test rows, leave-one-out errors of
ridge regressions. Does not cover: which strengths, and which is the best (``cross_validation``, ``logistic_cv``).
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from futures_cluster.config import usable_cores
from futures_cluster.glm.array_types import Array
from futures_cluster.glm.families import Family
from futures_cluster.glm.objective import Objective
from futures_cluster.glm.offsets import without_offset
from futures_cluster.glm.penalties import Penalty
from futures_cluster.glm.rowblocks import RowBlock
from futures_cluster.glm.solvers import SOLVERS, Options, solver_for
from futures_cluster.glm.sums import ExecutorSums, Sums, single_threaded_blas

#: Rows for which predictions of all fits of a path are formed at once.
PIECE_ROWS = 4096
#: Folds whose paths are followed at the same time, at most, when the rows are on workers.
MAX_THREADS = 32


def solve_path(
    sums: Sums,
    family: Family,
    intercept: bool,
    penalties: Sequence[Penalty],
    solver: str,
    options: Options,
    start: Array,
    column_center: Array | None = None,
) -> tuple[Array, Array]:
    """Fit for each penalty, from the fit for the one before.

    Returns
    -------
    thetas : array of shape (penalties, parameters)
    n_iter : array of int
    """
    results = []
    for penalty in penalties:
        objective = Objective(sums, family, penalty, intercept, column_center=column_center)
        results.append(SOLVERS[solver_for(solver, objective)](objective, start, options))
        start = results[-1].theta
    return np.array([each.theta for each in results]), np.array([each.n_iter for each in results])


def each_fold(fn: Callable[[int], Any], number: int, sums: Sums) -> list[Any]:
    """Call ``fn(fold)`` for all folds, several at a time, which share the workers."""
    threads = MAX_THREADS if isinstance(sums, ExecutorSums) else usable_cores()
    if number == 1 or threads == 1:
        return [fn(fold) for fold in range(number)]
    with single_threaded_blas(), concurrent.futures.ThreadPoolExecutor(min(number, threads)) as pool:
        return list(pool.map(fn, range(number)))


# ---------------------------------------------------------------- scores; these run on workers


def _predictors(
    block: RowBlock, keep: Array, thetas: Array, outputs: int, intercept: bool
) -> Iterator[tuple[Array, Array, Array]]:
    """Yield predictors ``(rows, fits, outputs)``, targets and weights of kept rows."""
    q = block.n_features
    fits = len(thetas)
    parts = thetas.reshape(fits, q + intercept, outputs)
    coef = np.ascontiguousarray(parts[:, :q].transpose(1, 0, 2).reshape(q, fits * outputs))
    for start in range(0, block.n_rows, PIECE_ROWS):
        stop = min(start + PIECE_ROWS, block.n_rows)
        own = keep[start:stop]
        if not np.any(own):
            continue
        for x, y, weights in block.pieces((start, stop), stop - start, 1, sparse_as_dense=False):
            eta = x[own] @ coef if isinstance(x, np.ndarray) else (x @ coef)[own]
            eta = eta.reshape(-1, fits, outputs)
            if intercept:
                eta += parts[:, q]
            yield eta, y[own], np.ones(len(eta)) if weights is None else weights[own]


def block_errors(block: RowBlock, keep: Array, thetas: Array, intercept: bool, center: float) -> Array:
    """Return the sums ``[weight, y, y**2, squared error of each fit]`` of a block."""
    total = np.zeros(3 + len(thetas))
    for eta, y, weights in _predictors(block, keep, thetas, 1, intercept):
        away = y - center
        total[:3] += [weights.sum(), weights @ away, weights @ away**2]
        total[3:] += weights @ (eta[:, :, 0] - y[:, None]) ** 2
    return total


def block_hits(
    block: RowBlock, keep: Array, thetas: Array, intercept: bool, family: Family, class_weights: Array | None
) -> Array:
    """Return the sums of weight, weight of hits and loss, of each fit.

    The weights of the classes, which are in those of the block, are taken out.
    """
    fits = len(thetas)
    total = np.zeros(1 + 2 * fits)
    for etas, both, weights in _predictors(block, keep, thetas, family.outputs, intercept):
        for fit in range(fits):
            eta = etas[:, fit, 0] if family.outputs == 1 else etas[:, fit]
            plain, y, eta = without_offset(family, both, eta)
            codes = (y > 0).astype(np.intp) if plain.outputs == 1 else y.astype(np.intp)
            own = weights
            if class_weights is not None:
                of_class = class_weights[codes]
                own = np.divide(weights, of_class, out=np.zeros_like(weights), where=of_class > 0)
            found = (eta > 0).astype(np.intp) if plain.outputs == 1 else eta.argmax(axis=1)
            total[1 + fit] += own @ (found == codes)
            total[1 + fits + fit] += own @ plain.derivatives(y, eta, 0)[0]
        total[0] += own.sum()
    return total


def block_left_out(
    block: RowBlock, mean: Array, vectors: Array, shrink: Array, coefs: Array, level: float, base: float
) -> Array:
    """Sum ``weight * error**2`` of each fit, each row predicted without itself.

    Parameters
    ----------
    mean : array of shape (features,)
        What the Gram matrix was centred by.
    vectors : array of shape (features, features)
        Eigenvectors of the Gram matrix.
    shrink : array of shape (features, fits)
        The inverse of eigenvalue plus strength.
    coefs : array of shape (features, fits)
        Coefficients of the eigenvectors.
    level : float
        Mean of the target.
    base : float
        Leverage of the intercept for a row of the weight 1.
    """
    total = np.zeros(shrink.shape[1])
    for start in range(0, block.n_rows, PIECE_ROWS):
        segment = (start, min(start + PIECE_ROWS, block.n_rows))
        for x, y, weights in block.pieces(segment, PIECE_ROWS, 1, sparse_as_dense=True):
            weights = np.ones(len(y)) if weights is None else weights
            z = (x - mean) @ vectors
            leverage = weights[:, None] * (base + (z * z) @ shrink)
            error = (y - level)[:, None] - z @ coefs
            total += weights @ (error / (1.0 - leverage)) ** 2
    return total
