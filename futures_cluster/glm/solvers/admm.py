"""Consensus ADMM: every block fits coefficients of its own, which are drawn together.

Covers: ``admm``, in rounds; ``async_admm``, where a block that is slow does not hold the others. Does not cover: how
a block is fitted (``newton``), the penalty's share when it is l1 (``quadratic``).

The method, for blocks ``i`` of ``N`` with losses ``f_i`` (parts of the mean loss), and the norm ``|v|_M^2 = v' M v``::

    x_i = argmin f_i(x) + rho / 2 * |x - z + u_i|_M^2          where the block is
    z   = argmin penalty(z) + N * rho / 2 * |z - mean(x_i + u_i)|_M^2      here
    u_i = u_i + x_i - z

``M`` is the Hessian at the start divided by ``N`` where there is one, else its diagonal: in that norm blocks that are
samples of the same rows are nearly alike, and ``rho = 1`` is nearly right; it is adapted where they are not. Each block
begins at ``z``, so its first look at the rows gives the gradient there; summed, that is the gradient of the
objective, and the estimated distance from the minimum is what a model with Hessian ``N M`` promises, as for ``newton``.

In the asynchronous form (Zhang and Kwok) ``z`` is renewed with whatever blocks have answered, and only those go on. A
block may be at most ``MAX_DELAY`` renewals behind; then the others wait for it. The answer depends on who is first,
within ``tol``.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from futures_cluster.as_completed import as_completed
from futures_cluster.glm.array_types import Array
from futures_cluster.glm.families import Family
from futures_cluster.glm.objective import Objective, Point
from futures_cluster.glm.penalties import Penalty
from futures_cluster.glm.rowblocks import RowBlock
from futures_cluster.glm.solvers.base import Options, Result, SolverRun, StartNotFinite, better_start, gradient_norm
from futures_cluster.glm.solvers.lbfgs import lbfgs
from futures_cluster.glm.solvers.linear import Diagonal, Factor
from futures_cluster.glm.solvers.newton import newton
from futures_cluster.glm.solvers.quadratic import minimize_model
from futures_cluster.glm.sums import LocalSums

RELAX = 1.6  # how far x_i is taken beyond z in rounds; the literature advises 1.5 to 1.8
BALANCE = 5.0  # rho changes when blocks disagree so much more than z moves, or less
MAX_DELAY = 8
LOCAL_ITERATIONS = 12


@dataclass(frozen=True)
class Share:
    """What a block needs to know of the problem; sent with its first task and kept small after it.

    Attributes
    ----------
    family : Family
    intercept : bool
    weight : float
        Of all rows of all blocks.
    metric : array
        ``M``, a matrix or a diagonal.
    """

    family: Family
    intercept: bool
    weight: float
    metric: Array


class BlockObjective(Objective):
    """A block's part of the mean loss, plus ``rho / 2 * |x - center|_M^2``."""

    def __init__(self, block: RowBlock, share: Share, center: Array, rho: float) -> None:
        super().__init__(LocalSums([block], threads=1), share.family, Penalty(), share.intercept)
        self.share = share
        self.center = center
        self.rho = rho
        self.first: Point | None = None  # where a solver begins

    def at(self, theta: Array, order: int = 1) -> Point:
        point = super().at(theta, order)
        part = self.weight / self.share.weight if self.weight else 0.0
        away = theta - self.center
        pull = self.rho * _times(self.share.metric, away)
        point.smooth = part * point.smooth + 0.5 * float(away @ pull)
        point.value = point.smooth
        if point.gradient is not None:
            point.gradient = part * point.gradient + pull
        if point.hessian is not None:
            metric = self.share.metric
            point.hessian = part * point.hessian + self.rho * (metric if metric.ndim == 2 else np.diag(metric))
        self.first = self.first or point
        return point

    def product(self, theta: Array, vector: Array) -> Array:
        part = self.weight / self.share.weight
        return part * super().product(theta, vector) + self.rho * _times(self.share.metric, vector)

    def diagonal(self, theta: Array) -> Array:
        part = self.at(theta, 0) and self.weight / self.share.weight
        metric = self.share.metric
        return part * super().diagonal(theta) + self.rho * (np.diagonal(metric) if metric.ndim == 2 else metric)


def fit_block(block: RowBlock, share: Share, z: Array, u: Array, rho: float, tol: float) -> tuple[Array, float, Array]:
    """Fit a block; return coefficients, its loss, and the gradient at ``z``; a task."""
    if block.n_rows == 0:
        return z - u, 0.0, np.zeros_like(z)
    objective = BlockObjective(block, share, z - u, rho)
    solver = newton if objective.has_hessian else lbfgs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = solver(objective, z, Options(tol=tol, max_iter=LOCAL_ITERATIONS, sample=False))
    away = rho * _times(share.metric, u)
    first = objective.first
    assert first is not None
    return found.theta, first.smooth - 0.5 * float(u @ away), first.gradient - away


class _Consensus:
    """What the blocks agree on."""

    def __init__(self, objective: Objective, theta: Array) -> None:
        self.objective = objective
        self.n_blocks = objective.all_rows.n_blocks
        self.penalty = objective.penalty
        start = objective.at(theta, 2 if objective.has_hessian else 1)
        self.start = start
        l2 = np.zeros(objective.size)
        l2[: objective.n_coefs] = self.penalty.l2
        self.l2 = l2
        if start.hessian is not None:
            curvature = start.hessian - np.diag(l2)
            diagonal = np.diagonal(curvature)
            # Directions without curvature get a little, so that blocks agree on them too.
            curvature = curvature + np.diag(1e-6 * np.where(diagonal > 0, diagonal, max(float(diagonal.max()), 1e-12)))
        else:
            curvature = Diagonal(objective.diagonal(theta) - l2).diagonal
        self.curvature = curvature
        self.share = Share(objective.family, objective.intercept, objective.weight, curvature / self.n_blocks)
        self._factors: dict[float, Factor | Diagonal] = {}

    def agree(self, center: Array, rho: float) -> Array:
        """Return ``z`` for the mean of ``x_i + u_i``."""
        weights = rho * self.curvature  # N times the metric
        if self.penalty.is_smooth:
            return self._factor(rho).solve(_times(weights, center))
        if weights.ndim == 1:
            n = self.objective.n_coefs
            z = weights * center / (weights + self.l2)
            z[:n] = self.penalty.prox(z[:n], 1.0 / (weights + self.l2)[:n])
            return z
        hessian = weights + np.diag(self.l2)
        slope = hessian @ center - _times(weights, center)
        step, _ = minimize_model(hessian, slope, center, self.penalty, self.objective.n_coefs)
        return center + step

    def _factor(self, rho: float) -> Factor | Diagonal:
        if rho not in self._factors:
            weights = rho * self.curvature
            dense = weights.ndim == 2
            n_free = self.objective.n_free
            self._factors[rho] = Factor(weights + np.diag(self.l2), n_free) if dense else Diagonal(weights + self.l2)
        return self._factors[rho]

    def gap(self, point: Point) -> float:
        """Return the estimated distance of the objective from its minimum."""
        z, slope = point.theta, point.gradient
        if self.penalty.is_smooth:
            return 0.5 * float(slope @ self._factor(1.0).solve(slope))
        if self.curvature.ndim == 2:
            hessian = self.curvature + np.diag(self.l2)
            return -minimize_model(hessian, slope, z, self.penalty, self.objective.n_coefs)[1]
        n, weights = self.objective.n_coefs, self.curvature + self.l2
        new = z - slope / weights
        new[:n] = self.penalty.prox(new[:n], 1.0 / weights[:n])
        return float((new - z) @ (weights * (new - z)))

    def point(self, z: Array, loss: float, gradient: Array) -> Point:
        """Return the objective at ``z``, of the blocks' parts."""
        b = z[: self.objective.n_coefs]
        smooth = loss - self.objective.base + self.penalty.smooth_value(b)
        return Point(z, smooth, smooth + self.penalty.l1_value(b), gradient + self.l2 * z, None)

    def norm2(self, vector: Array) -> float:
        """Return ``|v|_M^2``."""
        return float(vector @ _times(self.share.metric, vector))


def _begin(objective: Objective, theta: Array, options: Options) -> _Consensus:
    theta = better_start(objective, theta, options, newton if objective.has_hessian else lbfgs)
    consensus = _Consensus(objective, theta)
    if not consensus.start.is_finite:
        raise StartNotFinite()
    return consensus


def admm(objective: Objective, theta: Array, options: Options) -> Result:
    """Minimize by consensus ADMM, in rounds of all blocks."""
    run = SolverRun("admm", options, objective.base)
    consensus = _begin(objective, theta, options)
    rows = objective.all_rows
    numbers = range(rows.n_blocks)
    share = rows.share(consensus.share)
    z, rho = consensus.start.theta, 1.0
    us = [np.zeros_like(z) for _ in numbers]
    gap = consensus.gap(consensus.start)
    value = consensus.start.value
    while True:
        tol = _local_tol(gap, value, options)
        futures = [rows.submit(i, fit_block, share, z, us[i], rho, tol) for i in numbers]
        answers = [future.result() for future in futures]
        point = consensus.point(z, sum(answer[1] for answer in answers), sum(answer[2] for answer in answers))
        value = point.value
        gap = consensus.gap(point)
        if run.record(z, value, gradient_norm(objective, point), gap):
            break
        relaxed = [RELAX * answer[0] + (1.0 - RELAX) * z for answer in answers]
        before = z
        z = consensus.agree(sum(x + u for x, u in zip(relaxed, us)) / len(us), rho)
        us = [u + x - z for x, u in zip(relaxed, us)]
        apart = sum(consensus.norm2(answer[0] - z) for answer in answers)
        moved = len(us) * rho * rho * consensus.norm2(z - before)
        factor = 2.0 if apart > BALANCE**2 * moved else 0.5 if moved > BALANCE**2 * apart else 1.0
        if factor != 1.0 and 1e-4 < rho * factor < 1e4:
            rho *= factor
            us = [u / factor for u in us]
    return run.result(z, value)


@dataclass
class _Block:
    """What a block has answered, and its ``u``."""

    x: Array
    u: Array
    loss: float = 0.0
    gradient: Array | None = None  # before the first answer


class _Asked(NamedTuple):
    """A block that is being fitted, from which ``z``, and after how many renewals of that."""

    number: int
    z: Array
    renewals: int


class _AsyncBlocks:
    """The blocks, which are fitted side by side, and the ``z`` that is renewed with whatever has been answered.

    Attributes
    ----------
    z : array
        What the blocks agree on.
    """

    rho = 1.0

    def __init__(self, consensus: _Consensus) -> None:
        self.z = consensus.start.theta
        self._consensus = consensus
        self._rows = consensus.objective.all_rows
        self._share = self._rows.share(consensus.share)
        self._blocks = [_Block(self.z, np.zeros_like(self.z)) for _ in range(consensus.n_blocks)]
        self._asked: dict[Any, _Asked] = {}  # by future
        self._answers = as_completed()
        self._renewals = 0

    def ask(self, number: int, tol: float) -> None:
        """Have a block fitted from the present ``z``."""
        u = self._blocks[number].u
        future = self._rows.submit(number, fit_block, self._share, self.z, u, self.rho, tol)
        self._asked[future] = _Asked(number, self.z, self._renewals)
        self._answers.add(future)

    def take(self) -> list[int]:
        """Wait for answers, and return the blocks that they are from.

        Those of blocks that are too far behind are among them.
        """
        futures = [next(self._answers), *self._answers.next_batch(block=False)]
        numbers = [self._take(future) for future in futures]
        while any(asked.renewals < self._renewals - MAX_DELAY for asked in self._asked.values()):
            numbers.append(self._take(next(self._answers)))
        return numbers

    def _take(self, future: Any) -> int:
        asked = self._asked.pop(future)
        block = self._blocks[asked.number]
        block.x, block.loss, block.gradient = future.result()
        block.u = block.u + block.x - asked.z
        return asked.number

    def renew(self) -> None:
        """Let the blocks agree."""
        mean = sum(block.x + block.u for block in self._blocks) / len(self._blocks)
        self.z = self._consensus.agree(mean, self.rho)
        self._renewals += 1

    def all_have_answered(self) -> bool:
        """Return whether the parts of ``point`` are there."""
        return all(block.gradient is not None for block in self._blocks)

    def point(self) -> Point:
        """Return about the objective at ``z``.

        Its parts belong to several ``z``, which are one near the end.
        """
        loss = sum(block.loss for block in self._blocks)
        return self._consensus.point(self.z, loss, sum(block.gradient for block in self._blocks))

    def cancel(self) -> None:
        """Cancel what is under way."""
        for future in self._asked:
            future.cancel()


def async_admm(objective: Objective, theta: Array, options: Options) -> Result:
    """Minimize by consensus ADMM, in which blocks that have answered go on at once."""
    run = SolverRun("async_admm", options, objective.base)
    consensus = _begin(objective, theta, options)
    value, gap = consensus.start.value, consensus.gap(consensus.start)
    blocks = _AsyncBlocks(consensus)
    to_ask = list(range(consensus.n_blocks))
    answered = 0  # since the last look
    try:
        while True:
            for number in to_ask:
                blocks.ask(number, _local_tol(gap, value, options))
            to_ask = blocks.take()
            answered += len(to_ask)
            blocks.renew()
            if answered >= consensus.n_blocks and blocks.all_have_answered():
                answered = 0
                point = blocks.point()
                gap = consensus.gap(point)
                if gap <= 10 * run.threshold(point.value):  # near the end: look at it exactly
                    point = objective.at(blocks.z)
                    gap = consensus.gap(point)
                value = point.value
                if run.record(blocks.z, value, gradient_norm(objective, point), gap):
                    break
    finally:
        blocks.cancel()
    if not run.converged:
        value = objective.at(blocks.z, 0).value
    return run.result(blocks.z, value)


def _local_tol(gap: float, value: float, options: Options) -> float:
    """Return the tolerance of blocks, a little below the one reached by all."""
    return float(np.clip(1e-3 * gap / max(abs(value), 1e-300), 0.01 * options.tol, 1e-3))


def _times(metric: Array, vector: Array) -> Array:
    return metric @ vector if metric.ndim == 2 else metric * vector
