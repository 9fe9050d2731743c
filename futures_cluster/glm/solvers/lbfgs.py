"""L-BFGS, preconditioned.

Covers: the two-loop recursion over the last steps, a line search for the weak Wolfe conditions, the preconditioner.
Does not cover: l1 penalties.

The method: the inverse Hessian is approximated from the last ``MEMORY`` changes of the gradient, on top of a first
guess: the inverse of the Hessian at the start where there is one (of a sample of the rows, if there are many), else
of its diagonal. So badly scaled or correlated columns cost no iterations. The estimated distance from the minimum is
``g' B g / 2``, with ``B`` the approximation: what half a squared Newton decrement is with the true inverse.
"""

from __future__ import annotations

import numpy as np

from futures_cluster.glm.array_types import Array
from futures_cluster.glm.objective import Objective, Point
from futures_cluster.glm.solvers.base import (
    Options,
    Result,
    SolverRun,
    first_point,
    gradient_norm,
    sample_of,
)
from futures_cluster.glm.solvers.linear import Diagonal, Factor

MEMORY = 15
#: Of the slope: a step must gain this part of what it promises, and leave at most that part of the slope.
ARMIJO, WOLFE = 1e-4, 0.9
MAX_TRIALS = 25
#: For more parameters the first guess is diagonal: a dense one would cost more than the iterations it saves.
DENSE_PRECONDITIONER = 300


def lbfgs(objective: Objective, theta: Array, options: Options) -> Result:
    """Minimize by L-BFGS.

    Raises
    ------
    ValueError
        With an l1 penalty.
    """
    if not objective.penalty.is_smooth:
        raise ValueError("lbfgs needs a smooth penalty: take solver='newton' or 'proximal_grad' with l1")
    run = SolverRun("lbfgs", options, objective.base)
    point = first_point(objective, theta, options, lbfgs)
    memory = _Memory(first_guess(sample_of(objective, options) or objective, point.theta, DENSE_PRECONDITIONER))
    trouble = None
    while True:
        direction = -memory.solve(point.gradient)
        slope = float(point.gradient @ direction)
        if not slope < 0:
            memory.forget()
            direction = -memory.solve(point.gradient)
            slope = float(point.gradient @ direction)
        if run.record(point.theta, point.value, gradient_norm(objective, point), -0.5 * slope):
            break
        found = _search(objective, point, direction, slope)
        if found is None:
            if memory.pairs:
                memory.forget()
                continue
            run.converged = -0.5 * slope <= 1e-9 * max(abs(point.value), 1e-6 * abs(run.first or 0.0))
            trouble = "no step decreases the objective"
            break
        memory.learn(found.theta - point.theta, found.gradient - point.gradient)
        point = found
    return run.result(point.theta, point.value, trouble)


def first_guess(objective: Objective, theta: Array, most: int) -> Factor | Diagonal:
    """Return the Hessian at ``theta``, or its diagonal where the whole is too large."""
    if objective.size <= most and objective.has_hessian:
        hessian = objective.at(theta, 2).hessian
        factor = Factor(hessian, objective.n_free)
        if factor.is_definite:
            return factor
        # A little of the diagonal on top: directions without curvature here may have some elsewhere.
        diagonal = np.diagonal(hessian)
        ridge = 1e-8 * np.where(diagonal > 0, diagonal, max(float(diagonal.max()), 1.0))
        return Factor(hessian + np.diag(ridge), objective.n_free)
    return Diagonal(objective.diagonal(theta))


class _Memory:
    """The last steps and what they changed, oldest first."""

    def __init__(self, first: Factor | Diagonal) -> None:
        self.first = first
        self.pairs: list[tuple[Array, Array, float]] = []
        self.scale = 1.0

    def learn(self, step: Array, change: Array) -> None:
        """Keep a step, if the objective is curved along it."""
        product = float(step @ change)
        weight = float(change @ self.first.solve(change))
        if not product > 1e-14 * np.sqrt(max(weight, 0.0)) * float(np.linalg.norm(step)) or product <= 0:
            return
        self.pairs.append((step, change, product))
        del self.pairs[:-MEMORY]
        self.scale = product / weight if weight > 0 else 1.0

    def forget(self) -> None:
        """Begin again."""
        self.pairs = []
        self.scale = 1.0

    def solve(self, gradient: Array) -> Array:
        """Return the approximate inverse Hessian times a vector."""
        q = gradient.copy()
        alphas = []
        for step, change, product in reversed(self.pairs):
            alpha = float(step @ q) / product
            q -= alpha * change
            alphas.append(alpha)
        q = self.scale * self.first.solve(q)
        for (step, change, product), alpha in zip(self.pairs, reversed(alphas)):
            q += (alpha - float(change @ q) / product) * step
        return q


def _search(objective: Objective, point: Point, direction: Array, slope: float) -> Point | None:
    """Return a point of the weak Wolfe conditions, by bisection, or None."""
    low, high, step = 0.0, np.inf, 1.0
    noise = 4 * float(np.finfo(np.float64).eps) * (abs(point.value) + abs(objective.base))
    best: Point | None = None
    for _ in range(MAX_TRIALS):
        found = objective.at(point.theta + step * direction)
        new_slope = float(found.gradient @ direction) if found.is_finite else np.inf
        enough = found.is_finite and found.value <= point.value + ARMIJO * step * slope
        # So near the minimum that values drown in rounding errors, slopes still tell (Hager and Zhang).
        if found.is_finite and not enough and found.value <= point.value + noise:
            enough = new_slope <= -(1 - 2 * ARMIJO) * slope
        if not enough:
            high = step
        elif new_slope < WOLFE * slope:
            low, best = step, found
        else:
            return found
        if np.isfinite(high):
            step = 0.5 * (low + high) if found.is_finite else low + 0.1 * (high - low)
        else:
            step = 2.0 * step
        if high - low <= 1e-14 * high or -step * slope < 1e-3 * noise:
            break
    return best
