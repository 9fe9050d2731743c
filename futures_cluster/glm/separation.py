"""Separation: targets that some combination of columns predicts with certainty.

Without a penalty such a combination has no best coefficient: the larger, the better. A solver stops when the rest does
no longer matter, with coefficients that depend on ``tol`` alone.

How it is found: where the solver stopped, one more Newton step still moves the linear predictor of separated rows by
one or more, each towards its own target, and no other row at all. In a fit with an optimum the step is small, and moves
rows both ways. So the step is a direction without an optimum, and the rows are asked whether it is
(``Family.recession``).

Where a solver stopped early, because of a large ``tol`` or of ``max_iter``, the step is not small on the way to an
optimum either. So what looks like a separation there is asked again where Newton's method stops with a small ``tol``.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from futures_cluster.glm.array_types import Array
from futures_cluster.glm.identification import name_some
from futures_cluster.glm.objective import Objective
from futures_cluster.glm.passes import block_recession
from futures_cluster.glm.solvers.base import Options, StartNotFinite, warn_of_convergence
from futures_cluster.glm.solvers.linear import Factor
from futures_cluster.glm.solvers.newton import newton

#: A step is looked at if it changes some coefficient by this part.
MOVES = 1e-3
#: It must move a separated row so far, and others no farther back than rounding errors and an early stop explain.
FAR, BACK = 0.5, 0.01
#: The least part of a column in the direction, relative to the largest.
PART = 0.05
#: A fit stopped early if it stopped farther from its minimum than this ``tol`` allows.
SMALL_TOL = 1e-11


@dataclass(frozen=True)
class Separation:
    """A direction in which there is no optimum.

    Attributes
    ----------
    is_complete : bool
        Whether all targets are certain; otherwise some are (quasi-separation).
    columns : array of bool
        Which columns are part of it.
    intercept : bool
        Whether the intercept is.
    """

    is_complete: bool
    columns: Array
    intercept: bool

    def warn(self, names: Sequence[str]) -> None:
        """Warn, and name the columns."""
        found = name_some(names, self.columns)
        count = int(np.sum(self.columns))
        subject = f"a combination of the columns {found}" if count > 1 else f"the column {found}"
        subject = subject if count else "the intercept"
        what = "separates the targets completely" if self.is_complete else "separates some targets (quasi-separation)"
        warn_of_convergence(
            f"{subject} {what}: without a penalty there is no optimum, and the coefficients are as "
            "large as tol and max_iter let them become. Add a penalty, or leave out or merge these columns"
        )


def separation_of(objective: Objective, theta: Array, step: Array, hidden: Array | None = None) -> Separation | None:
    """Return the separation that a Newton step from ``theta`` shows, if there is any.

    Parameters
    ----------
    hidden : array of shape (parameters, directions), optional
        Directions without curvature, which the step leaves out.
    """
    found = _look(objective, theta, step, hidden)
    if found is None or found.is_complete:  # each row moves towards its own target, which proves it
        return found
    further = _go_on(objective, theta)
    if further is theta:
        return found
    factor, step = _newton_step(objective, further)
    return _look(objective, further, step, factor.null)


def separation_of_classes(objective: Objective, theta: Array) -> Separation | None:
    """Return the separation of several classes, if their Hessian is small enough."""
    if objective.outputs == 1 or not objective.has_hessian:
        return None
    return separation_of(objective, theta, _newton_step(objective, theta)[1])


def _newton_step(objective: Objective, theta: Array) -> tuple[Factor, Array]:
    point = objective.at(theta, 2)
    factor = Factor(point.hessian, objective.n_free, objective.noise_of(point.hessian))
    return factor, -factor.solve(point.gradient)


def _go_on(objective: Objective, theta: Array) -> Array:
    """Return where Newton's method stops with a small ``tol``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = newton(objective, theta, Options(SMALL_TOL, sample=False))
        except StartNotFinite:
            return theta
    return theta if np.array_equal(result.theta, theta) else result.theta


def _look(objective: Objective, theta: Array, step: Array, hidden: Array | None) -> Separation | None:
    candidates = []
    if np.any(np.abs(step) > MOVES * np.abs(theta)):
        candidates.append(step)
    for direction in () if hidden is None else hidden.T:
        candidates += [direction, -direction]
    for direction in candidates:
        if (found := _ask(objective, theta, direction)) is not None:
            return found
    return None


def _ask(objective: Objective, theta: Array, direction: Array) -> Separation | None:
    rows, outputs, n = objective.all_rows, objective.outputs, objective.rows - objective.intercept
    answers = np.array(rows.each(block_recession, objective.family, objective.intercept, theta, direction))
    least, most, least_so_far = np.min(answers[:, 0]), np.max(answers[:, 1]), np.min(answers[:, 2])
    if least_so_far > 0:
        direction = theta  # all targets are on their own side, so this is a direction without an optimum
    elif not (most > FAR and least >= -BACK):
        return None
    squares = answers[:, 3:].sum(axis=0)
    sizes = np.max(np.abs(direction.reshape(-1, outputs)), axis=1)
    parts = sizes[:n] * np.sqrt(squares / rows.n_rows)
    largest = max(float(np.max(parts, initial=0.0)), float(np.max(sizes[n:], initial=0.0)))
    return Separation(
        is_complete=bool(least_so_far > 0 or least > BACK),
        columns=parts > PART * largest,
        intercept=bool(np.any(sizes[n:] > PART * largest)),
    )
