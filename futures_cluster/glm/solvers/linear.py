"""Solving with a Hessian: symmetric, nonnegative, possibly badly scaled or singular.

Covers: Cholesky after scaling, the fallback to eigenvalues, conjugate gradients without the matrix. Does not cover: how
steps are used.

Why scaled: columns in other units change a Hessian's diagonal by orders of magnitude; with a diagonal of ones what
remains is only their correlation. Why the intercept comes first: eliminating it is centering the columns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg

Array = Any

#: Pivots below this mean that a column is a combination of others, as far as doubles can tell.
PIVOT = 1e-13


class Factor:
    """A factorized Hessian; ``solve`` gives the step, the shortest one where it is not unique.

    Attributes
    ----------
    is_definite : bool
        False: some combination of columns says nothing about the target, and eigenvalues had to help.

    Examples
    --------
    >>> Factor(np.array([[4.0, 0.0], [0.0, 1.0]])).solve(np.array([4.0, 1.0])).tolist()
    [1.0, 1.0]
    """

    def __init__(self, hessian: Array) -> None:
        diagonal = np.diagonal(hessian)
        self.scale = 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        # The reversed order has the intercept first.
        scaled = (hessian * self.scale[:, None] * self.scale)[::-1, ::-1]
        self.is_definite = bool(np.all(diagonal > 0))
        self.factor: Any = None
        if self.is_definite:
            try:
                self.factor = scipy.linalg.cho_factor(scaled, lower=True, check_finite=False)
            except np.linalg.LinAlgError:
                self.is_definite = False
            else:
                self.is_definite = float(np.min(np.diagonal(self.factor[0]), initial=1.0)) ** 2 > PIVOT
        if not self.is_definite:
            # In the columns' own units, so that the step is the shortest in the coefficients, as least squares has it;
            # unless their sizes differ so much that small ones would drown.
            spread = float(np.max(self.scale) / np.min(self.scale)) if len(self.scale) else 1.0
            if spread > 1e3:
                self.values, self.vectors = np.linalg.eigh(scaled[::-1, ::-1])
            else:
                self.scale = np.ones_like(self.scale)
                self.values, self.vectors = np.linalg.eigh(hessian)
            cut = len(self.values) * float(np.finfo(np.float64).eps) * max(float(self.values[-1]), 0.0) * 8
            self.kept = self.values > cut

    def solve(self, gradient: Array) -> Array:
        """The step ``x`` with ``hessian @ x = gradient``."""
        if self.is_definite:
            reverse = scipy.linalg.cho_solve(self.factor, (gradient * self.scale)[::-1], check_finite=False)
            return reverse[::-1] * self.scale
        vectors = self.vectors[:, self.kept]
        return (vectors @ ((vectors.T @ (gradient * self.scale)) / self.values[self.kept])) * self.scale


class Diagonal:
    """The same for a diagonal only."""

    is_definite = True

    def __init__(self, diagonal: Array) -> None:
        largest = float(np.max(diagonal, initial=0.0)) or 1.0
        self.diagonal = np.where(diagonal > 1e-14 * largest, diagonal, largest)

    def solve(self, gradient: Array) -> Array:
        """The gradient over the diagonal."""
        return gradient / self.diagonal


def conjugate_gradients(
    product: Callable[[Array], Array], gradient: Array, preconditioner: Diagonal, tol: float, max_iter: int
) -> Array:
    """An approximate step ``x`` with ``hessian @ x = gradient``, by products with vectors.

    Parameters
    ----------
    tol : float
        Stop when the residual has become so much smaller than the gradient, both in the preconditioner's metric.
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
