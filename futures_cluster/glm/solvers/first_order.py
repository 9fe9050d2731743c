"""Accelerated gradient methods: ``gradient_descent`` and ``proximal_grad``.

Covers: Nesterov's acceleration with a restart, steps by Armijo's rule in a diagonal metric. Does not cover: second
derivatives, but for the diagonal at the start.

The method (FISTA): from ``y``, a point beyond the last step, a gradient step and then the proximal operator of l1. A
step ``t`` is accepted when the objective lies below the quadratic with curvature ``1 / t`` that touches it at ``y``:
for a smooth objective that is Armijo's rule with one half. Lengths are measured with the diagonal ``D`` of the
Hessian at the start, so units of columns do not matter. The acceleration begins again when the objective rises or the
steps turn round (O'Donoghue and Candès); that gives linear convergence without knowing how convex the objective is.
The estimated distance from the minimum is ``|x - y|**2 / (2 t)`` in this metric, divided by how much an iteration
gained lately.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from futures_cluster.glm.array_types import Array
from futures_cluster.glm.objective import Objective
from futures_cluster.glm.solvers.base import (
    Options,
    Result,
    SolverRun,
    first_point,
    gradient_norm,
    sample_of,
)
from futures_cluster.glm.solvers.linear import Diagonal

GROW, SHRINK = 1.25, 0.5
MAX_TRIALS = 40


def gradient_descent(objective: Objective, theta: Array, options: Options) -> Result:
    """Minimize by accelerated gradient descent.

    Raises
    ------
    ValueError
        With an l1 penalty.
    """
    if not objective.penalty.is_smooth:
        raise ValueError("gradient_descent needs a smooth penalty: take solver='proximal_grad' with l1")
    return _accelerated("gradient_descent", objective, theta, options, gradient_descent)


def proximal_grad(objective: Objective, theta: Array, options: Options) -> Result:
    """Minimize by FISTA; with a smooth penalty the same as ``gradient_descent``."""
    return _accelerated("proximal_grad", objective, theta, options, proximal_grad)


def _accelerated(name: str, objective: Objective, theta: Array, options: Options, itself: Any) -> Result:
    run = SolverRun(name, options, objective.base)
    y = first_point(objective, theta, options, itself)
    theta = y.theta
    metric = Diagonal((sample_of(objective, options) or objective).diagonal(theta)).diagonal
    penalty, n = objective.penalty, objective.n_coefs
    x, value = theta, y.value
    step, momentum = 1.0, 1.0
    trouble = None
    norm = gradient_norm(objective, y)
    gap = np.inf
    ahead = 0.0  # how far y lies beyond x
    recent: list[float] = []
    is_news = True  # whether x is another one than before
    while not (is_news and run.record(x, value, norm, gap)):
        is_news = True
        found = None
        for _ in range(MAX_TRIALS):
            new = y.theta - (step / metric) * y.gradient
            new[:n] = penalty.prox(new[:n], step / metric[:n])
            change = new - y.theta
            squared = float(change @ (metric * change))
            candidate = objective.at(new, 0)
            bound = y.smooth + float(y.gradient @ change) + squared / (2 * step)
            noise = 4 * float(np.finfo(np.float64).eps) * (abs(y.smooth) + abs(objective.base))
            if np.isfinite(candidate.value) and candidate.smooth <= bound + noise:
                found = candidate
                break
            step *= SHRINK if np.isfinite(candidate.value) else 0.1 * SHRINK
        if found is None:
            trouble = "no step decreases the objective"
            break
        rises = found.value > value
        if rises and ahead > 0:
            # Beyond the last step lies no better point: begin again from where we are.
            momentum, ahead = 1.0, 0.0
            y = objective.at(x)
            is_news = False
            continue
        turns = float((y.theta - found.theta) @ (metric * (found.theta - x))) > 0
        gain = max(value - found.value, 0.0)
        recent = [*recent[-4:], gain]
        if turns:
            momentum = 1.0
        next_momentum = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * momentum * momentum))
        ahead = 0.0 if turns else (momentum - 1.0) / next_momentum
        momentum = next_momentum
        beyond = found.theta + ahead * (found.theta - x)
        x, value = found.theta, found.value
        gap = _gap(squared / (2 * step), recent)
        y = objective.at(beyond)
        if not y.is_finite:
            y, momentum, ahead = objective.at(x), 1.0, 0.0
        norm = gradient_norm(objective, y)
        step *= GROW
    return run.result(x, value, trouble)


def _gap(decrement: float, recent: list[float]) -> float:
    """Return the estimated distance from the minimum.

    One step's decrement would be it if the metric were the Hessian. Where it is not, many small steps remain: the gains
    of the last iterations, which shrink geometrically, say how many.
    """
    if len(recent) < 5:
        return np.inf if decrement > 0 else 0.0
    first, last = sum(recent[:2]), sum(recent[3:])
    if first <= 0:
        return decrement
    ratio = min((last / first) ** (1 / 3), 0.99)
    return float(max(decrement, max(recent) * ratio / (1.0 - ratio)))
