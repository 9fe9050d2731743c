"""The inner problem of proximal Newton: a quadratic model plus an l1 penalty, or coefficients that stay positive.

Covers: cyclic coordinate descent over the coefficients that may move, finished by one exact solution for those that are
not zero. Does not cover: forming the model, and what happens to the step (``newton``).

The problem: ``d`` that minimizes ``g' d + d' H d / 2 + l1 * |b + d|_1`` over all parameters, the penalty on
coefficients only, with ``penalty.positive`` under ``b + d >= 0``. Everything is small here (a Hessian is at hand), so
no rows are touched.
"""

from __future__ import annotations

import numpy as np

from futures_cluster.glm.array_types import Array
from futures_cluster.glm.penalties import Penalty
from futures_cluster.glm.solvers.linear import Factor

MAX_SWEEPS = 1000
#: Sweeps end when the largest gain of one coordinate is this part of what all have gained.
SWEEP_TOL = 1e-14


def minimize_model(
    hessian: Array, gradient: Array, theta: Array, penalty: Penalty, n_coefs: int
) -> tuple[Array, float]:
    """Return the step, and the change of the penalized model to first order.

    Examples
    --------
    >>> step, promise = minimize_model(np.eye(2), np.array([-3.0, -0.5]), np.zeros(2), Penalty(l1=1.0), 2)
    >>> step.tolist(), promise
    ([2.0, 0.0], -4.0)
    >>> minimize_model(np.eye(2), np.array([-3.0, 2.0]), np.zeros(2), Penalty(positive=True), 2)[0].tolist()
    [3.0, 0.0]
    """
    size = len(theta)
    strength = np.zeros(size)
    strength[:n_coefs] = penalty.l1
    low = np.full(size, -np.inf)
    if penalty.positive:
        low[:n_coefs] = 0.0
    diagonal = np.diagonal(hessian).copy()
    movable = diagonal > 1e-14 * max(float(np.max(diagonal, initial=0.0)), 1e-300)
    x = theta.copy()
    slope = gradient.copy()  # of the model's smooth part at x
    moving = np.flatnonzero(movable)
    total = 0.0
    for _ in range(MAX_SWEEPS):
        gained = _sweep(hessian, diagonal, slope, x, strength, low, moving)
        total += gained
        if gained <= SWEEP_TOL * total:
            if len(moving) == int(movable.sum()):
                break
            moving = np.flatnonzero(movable)
            continue
        # Until these are settled, only those that are not zero, or want to leave it.
        wants = movable & ((x != 0) | (_pull(slope, low) > strength))
        polished = _polish(hessian, slope, x, strength, low, wants)
        if polished is not None:
            slope += hessian @ (polished - x)
            x = polished
            if _is_optimal(slope, x, strength, low, movable, diagonal):
                break
        moving = np.flatnonzero(wants)
    step = x - theta
    promise = float(gradient @ step) + float(strength @ (np.abs(x) - np.abs(theta)))
    return step, min(promise, 0.0)


def _pull(slope: Array, low: Array) -> Array:
    """Return each parameter's pull from zero: at a bound in one direction only."""
    return np.where(low == 0, -slope, np.abs(slope))


def _sweep(
    hessian: Array, diagonal: Array, slope: Array, x: Array, strength: Array, low: Array, moving: Array
) -> float:
    """Minimize by single coordinates for one round, in place; return the gain."""
    gained = 0.0
    for j in moving:
        old, curvature, most = x[j], diagonal[j], strength[j]
        target = curvature * old - slope[j]
        new = (abs(target) - most) * (1.0 if target > 0 else -1.0) / curvature if abs(target) > most else 0.0
        new = max(new, low[j])
        change = new - old
        if change != 0.0:
            slope += change * hessian[:, j]
            x[j] = new
            gained += 0.5 * curvature * change * change
    return gained


def _polish(hessian: Array, slope: Array, x: Array, strength: Array, low: Array, wants: Array) -> Array | None:
    """Return the exact solution for those that are not zero; None if nothing moves.

    Where a sign would change, the step ends at zero, and the next one goes on without that parameter.
    """
    free = (strength == 0) & (low != 0)
    active = np.flatnonzero(wants & ((x != 0) | free))
    x, slope = x.copy(), slope + np.sign(x) * strength
    moved = False
    while len(active):
        part = hessian[np.ix_(active, active)]
        factor = Factor(part, int(np.sum(free[active])))
        step, most = -factor.solve(slope[active]), 1.0
        if not factor.is_definite:
            rest = slope[active] + part @ step
            if np.max(np.abs(rest)) > 1e-8 * np.max(strength):
                # The model is flat in this direction and the penalty falls, up to the first that becomes zero.
                step, most = -rest, np.inf
        old = x[active]
        towards = ~free[active] & (old * step < 0)
        reach = np.where(towards, np.abs(old) / np.where(towards, np.abs(step), 1.0), np.inf)
        length = min(float(np.min(reach)), most)
        if not np.isfinite(length):
            break
        x[active] = old + length * step
        slope = slope + length * (hessian[:, active] @ step)
        moved = True
        ends = reach <= length
        if not np.any(ends):
            break
        x[active[ends]] = 0.0
        active = active[~ends]
    return x if moved else None


def _is_optimal(slope: Array, x: Array, strength: Array, low: Array, movable: Array, diagonal: Array) -> bool:
    """Return whether no zero wants to leave."""
    slack = 1e-10 * np.sqrt(diagonal) * max(float(np.max(strength, initial=0.0)), 1e-300)
    zero = movable & (x == 0) & ((strength > 0) | (low == 0))
    return bool(np.all(_pull(slope, low)[zero] <= strength[zero] + slack[zero]))
