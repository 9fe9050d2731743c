"""Solving with a Hessian: symmetric, nonnegative, possibly badly scaled or singular.

Covers: elimination of intercepts, Cholesky after scaling, the fallback to eigenvalues, conjugate gradients without the
matrix. Does not cover: how steps are used.

Why the intercepts are eliminated first: what remains is the Hessian of centred columns, and the shortest step is that
of the coefficients alone, as least squares has it. Why scaled: columns in other units change a Hessian's diagonal by
orders of magnitude; with a diagonal of ones what remains is only their correlation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg

from futures_cluster.glm.array_types import Array

EPS = float(np.finfo(np.float64).eps)
#: Pivots below this mean that a column is a combination of others, as far as doubles can tell.
PIVOT = 1e-13
#: A column of which elimination of the intercept leaves a smaller part is constant.
CONSTANT = 1e-12
#: Smaller entries of a null direction, in the metric of the scaled columns, are rounding errors.
NO_PART = 1e-12
#: Units of columns that differ by more must not mix in null directions.
MIXED_UNITS = 1e3


class Factor:
    """A factorized Hessian; ``solve`` gives the step, the shortest one where it is not unique.

    Parameters
    ----------
    hessian : array of shape (parameters, parameters)
    n_free : int
        Number of intercepts, which come last and do not count in the length of a step.
    noise : float or array of shape (parameters - n_free,)
        Columns are constant if their diagonal, without the intercepts, is not larger.

    Attributes
    ----------
    is_definite : bool
        False: some combination of columns says nothing about the target, and eigenvalues had to help.
    null : array of shape (parameters, directions)
        Such combinations, with intercepts so that nothing changes.

    Examples
    --------
    >>> Factor(np.array([[4.0, 0.0], [0.0, 1.0]])).solve(np.array([4.0, 1.0])).tolist()
    [1.0, 1.0]
    """

    def __init__(self, hessian: Array, n_free: int = 0, noise: Any = 0.0) -> None:
        n = self.n_coefs = len(hessian) - n_free
        inner = hessian
        self.free, self.means = np.zeros((0, 0)), np.zeros((n, 0))
        if n_free:
            cross = hessian[:n, n:]
            self.free = _pseudo_inverse(hessian[n:, n:])
            self.means = cross @ self.free
            inner = hessian[:n, :n] - self.means @ cross.T
        diagonal = np.diagonal(inner)
        varies = diagonal > noise
        if n_free:
            varies &= diagonal > CONSTANT * np.diagonal(hessian)[:n]
        self.scale = 1.0 / np.sqrt(np.where(varies, diagonal, 1.0))
        # How many times larger the products were than what elimination left of them, and so their rounding errors.
        magnified = np.where(varies, np.diagonal(hessian)[:n] * self.scale**2, 1.0)
        scaled = inner * self.scale[:, None] * self.scale
        self.factor: Any = None
        self.null = np.zeros((len(hessian), 0))
        self.is_definite = bool(np.all(varies))
        if self.is_definite:
            try:
                self.factor = scipy.linalg.cho_factor(scaled, lower=True, check_finite=False)
            except np.linalg.LinAlgError:
                self.is_definite = False
            else:
                least = float(np.min(np.diagonal(self.factor[0]), initial=1.0)) ** 2
                self.is_definite = least > max(PIVOT, 32 * EPS * float(np.max(magnified, initial=1.0)))
        if not self.is_definite:
            self._decompose(scaled, varies, 8 * EPS * float(magnified.sum()))

    def _decompose(self, scaled: Array, varies: Array, noise: float) -> None:
        n, columns = self.n_coefs, np.flatnonzero(varies)
        values, vectors = np.linalg.eigh(scaled[np.ix_(columns, columns)])
        kept = values > max(noise, len(values) * EPS * 8 * float(np.max(values, initial=0.0)))
        self.values = values[kept]
        self.vectors = np.zeros((n, len(self.values)))
        self.vectors[columns] = vectors[:, kept]
        unseen = np.zeros((n, n - len(self.values)))
        unseen[columns, : len(columns) - len(self.values)] = _separated(vectors[:, ~kept], self.scale[columns])
        unseen[~varies, len(columns) - len(self.values) :] = np.eye(n - len(columns))
        coefs = unseen * self.scale[:, None]
        self.null = np.concatenate([coefs, -self.means.T @ coefs])
        # The same projection by the smaller of two bases: of what is not seen, or of what is.
        self.is_null_basis = coefs.shape[1] <= len(self.values)
        self.basis = np.linalg.qr(coefs if self.is_null_basis else self.vectors / self.scale[:, None])[0]

    def solve(self, gradient: Array) -> Array:
        """Return the step ``x`` with ``hessian @ x = gradient``, for each column."""
        n = self.n_coefs
        right = ((gradient[:n] - self.means @ gradient[n:]).T * self.scale).T
        if self.is_definite:
            scaled = scipy.linalg.cho_solve(self.factor, right, check_finite=False)
        else:
            scaled = self.vectors @ ((self.vectors.T @ right).T / self.values).T
        coefs = (scaled.T * self.scale).T
        if self.null.shape[1]:
            coefs = self._shorten(coefs)
        return np.concatenate([coefs, self.free @ gradient[n:] - self.means.T @ coefs])

    def _shorten(self, coefs: Array) -> Array:
        part = self.basis @ (self.basis.T @ coefs)
        return coefs - part if self.is_null_basis else part

    def shortest(self, theta: Array, but: Array) -> Array:
        """Return the parameters with the shortest coefficients that predict the same.

        Parameters
        ----------
        but : array of bool
            Null directions to leave alone.
        """
        n = self.n_coefs
        if np.any(but):
            basis = np.linalg.qr(self.null[:n, ~but])[0]
            coefs = theta[:n] - basis @ (basis.T @ theta[:n])
        else:
            coefs = self._shorten(theta[:n]) if self.null.shape[1] else theta[:n]
        return np.concatenate([coefs, theta[n:] + self.means.T @ (theta[:n] - coefs)])


def _separated(unseen: Array, scale: Array) -> Array:
    """Return a basis of null directions without rounding errors.

    Where units differ much, those of one direction are larger than the entries of another, so the directions must not
    be mixed: each gets one column of its own, which the other columns make up.
    """
    if unseen.shape[1] and np.max(scale) > MIXED_UNITS * np.min(scale):
        own = scipy.linalg.qr(unseen.T, mode="r", pivoting=True)[1][: unseen.shape[1]]
        unseen = np.linalg.solve(unseen[own].T, unseen.T).T
    return np.where(np.abs(unseen) > NO_PART, unseen, 0.0)


def _pseudo_inverse(matrix: Array) -> Array:
    """Return the inverse of a small symmetric matrix, where it has one."""
    values, vectors = np.linalg.eigh(matrix)
    kept = values > len(values) * EPS * 8 * max(float(values[-1]), 0.0)
    return (vectors[:, kept] / values[kept]) @ vectors[:, kept].T


class Diagonal:
    """The same for a diagonal only."""

    is_definite = True

    def __init__(self, diagonal: Array) -> None:
        largest = float(np.max(diagonal, initial=0.0)) or 1.0
        self.diagonal = np.where(diagonal > 1e-14 * largest, diagonal, largest)

    def solve(self, gradient: Array) -> Array:
        """Return the gradient over the diagonal."""
        return gradient / self.diagonal


def conjugate_gradients(
    product: Callable[[Array], Array], gradient: Array, preconditioner: Diagonal, tol: float, max_iter: int
) -> Array:
    """Return an approximate ``x`` with ``hessian @ x = gradient``, by products.

    Parameters
    ----------
    tol : float
        Stop when the residual is smaller than the gradient by this factor, both in the preconditioner's metric.
    """
    x = np.zeros_like(gradient)
    residual = gradient.copy()
    z = preconditioner.solve(residual)
    direction = z.copy()
    energy = first = float(residual @ z)
    for _ in range(max_iter):
        if energy <= tol * tol * first or energy <= 0:
            break
        image = product(direction)
        curvature = float(direction @ image)
        if curvature <= 1e-16 * energy:
            break  # flat: nothing more to learn in this direction
        step = energy / curvature
        x += step * direction
        residual -= step * image
        z = preconditioner.solve(residual)
        energy, before = float(residual @ z), energy
        direction *= energy / before
        direction += z
    return x if np.any(x) else preconditioner.solve(gradient)
