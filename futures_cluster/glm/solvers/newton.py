"""Newton's method (iteratively reweighted least squares).

Covers: steps by Cholesky, with a fallback when the Hessian is singular; steps by conjugate gradients when there are too
many columns for a Hessian; with an l1 penalty the quadratic model plus penalty is minimized exactly (proximal Newton);
step control. Does not cover: the linear algebra (``linear``), the inner problem (``quadratic``).

The method: ``theta += t * d`` with ``d`` the minimizer of the quadratic model at ``theta``; ``t`` is halved until the
objective decreases by a part of what the gradient promises. The estimated distance from the minimum is what the model
promises in one full step: without l1 half the squared Newton decrement, ``g' H^-1 g / 2``.

Two ways to spend fewer passes. A start from a sample of the rows (``base.better_start``). And a Hessian costs several
times a gradient: once a step makes the decrement ten times smaller, the Hessian hardly changes from there on and is
used again (the chord method), as long as each step goes on to gain as much.
"""

from __future__ import annotations

import numpy as np

from futures_cluster.glm.array_types import Array
from futures_cluster.glm.objective import Objective, Point
from futures_cluster.glm.solvers.base import (
    Options,
    Result,
    SolverRun,
    StartNotFinite,
    better_start,
    gradient_norm,
    sample_of,
)
from futures_cluster.glm.solvers.linear import Diagonal, Factor, conjugate_gradients
from futures_cluster.glm.solvers.quadratic import minimize_model

#: A step must gain this part of what the gradient promises.
ARMIJO = 1e-4
MAX_HALVINGS = 30
#: The Hessian is kept while the gap shrinks by this factor an iteration (the decrement by its root).
KEEP = 0.05
MAX_CG = 300


def newton(objective: Objective, theta: Array, options: Options) -> Result:
    """Minimize by Newton's method."""
    run = SolverRun("newton", options, objective.base)
    start = theta
    theta = better_start(objective, theta, options, newton)
    model = _Model(objective)
    sample = sample_of(objective, options) if objective.has_hessian and theta is not start else None
    if sample is not None:
        # Its Hessian will do for the first steps; if they do not gain enough there will be one of all rows.
        model.hessian = sample.at(theta, 2).hessian
    order = 2 if objective.has_hessian and sample is None else 1
    point = objective.at(theta, order)
    if not point.is_finite and theta is not start:
        point = objective.at(start, 2 if objective.has_hessian else 1)
    if not point.is_finite:
        raise StartNotFinite()
    trouble = None
    last_gap = np.inf
    while True:
        direction, promise = model.step(point)
        gap = -promise if not model.is_smooth else -0.5 * promise
        if run.record(point.theta, point.value, gradient_norm(objective, point), gap):
            break
        # Far from the end, or no faster: the next point gets a Hessian of its own.
        keeps = gap < KEEP * last_gap or (model.is_stale and last_gap == np.inf)
        last_gap = gap
        order = 2 if objective.has_hessian and not keeps else 1
        found = search(objective, point, direction, promise, order)
        if found is None:
            if model.is_stale:
                point, last_gap = objective.at(point.theta, 2), np.inf
                continue
            # Nothing is gained in the direction of descent: the objective is as small as doubles can tell.
            run.converged = gap <= max(1e-9 * max(abs(point.value), 1e-6 * abs(run.first or 0.0)), 1e-300)
            trouble = "no step decreases the objective"
            break
        point = found
    return run.result(point.theta, point.value, trouble)


class _Model:
    """The quadratic model, by whatever is affordable."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.is_smooth = objective.penalty.is_smooth
        self.is_stale = False
        self.factor: Factor | None = None
        self.hessian: Array = None
        self.preconditioner: Diagonal | None = None

    def step(self, point: Point) -> tuple[Array, float]:
        """Return the step, and the (negative) change that its slope promises."""
        objective = self.objective
        if not objective.has_hessian:
            direction = self._by_products(point)
            return direction, float(point.gradient @ direction)
        if point.hessian is not None:
            self.hessian, self.factor, self.is_stale = point.hessian, None, False
        else:
            self.is_stale = True
        if not self.is_smooth:
            return minimize_model(self.hessian, point.gradient, point.theta, objective.penalty, objective.n_coefs)
        if self.factor is None:
            self.factor = Factor(self.hessian, objective.n_free, objective.noise_of(self.hessian))
        direction = -self.factor.solve(point.gradient)
        return direction, float(point.gradient @ direction)

    def _by_products(self, point: Point) -> Array:
        objective = self.objective
        if not self.is_smooth:
            raise ValueError("too many columns for newton with l1 or positive=True: take solver='proximal_grad'")
        if self.preconditioner is None:
            self.preconditioner = Diagonal(objective.diagonal(point.theta))
        norm = float(np.sqrt(point.gradient @ self.preconditioner.solve(point.gradient)))
        tol = min(0.25, np.sqrt(norm / max(np.sqrt(abs(point.value)), 1e-300)))
        return -conjugate_gradients(
            lambda vector: objective.product(point.theta, vector), point.gradient, self.preconditioner, tol, MAX_CG
        )


def search(objective: Objective, point: Point, direction: Array, promise: float, order: int) -> Point | None:
    """Return a point that decreases the objective enough along a direction, or None."""
    step = 1.0
    noise = 4 * float(np.finfo(np.float64).eps) * (abs(point.value) + abs(objective.base))
    for attempt in range(MAX_HALVINGS):
        candidate = objective.at(point.theta + step * direction, order)
        if candidate.is_finite:
            if candidate.value <= point.value + ARMIJO * step * promise:
                return candidate
            # So near the minimum that the change drowns in rounding errors: then the slope decides.
            is_level = attempt == 0 and candidate.value <= point.value + noise and objective.penalty.is_smooth
            if is_level and abs(float(candidate.gradient @ direction)) <= 0.5 * abs(promise):
                return candidate
        if -step * promise <= noise * 1e-3:
            return None
        step = 0.5 * step if candidate.is_finite else 0.1 * step
    return None
