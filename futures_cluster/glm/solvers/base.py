"""What all solvers share: options, the result, the record of iterations, the criterion, the start from a sample.

Covers: ``Options``, ``Result``, ``SolverRun`` (which writes the history, calls back and says when to stop). Does not
cover: any method of minimization.

The criterion, for every solver: **stop when the estimated distance of the objective from its minimum is at most
``tol`` times the objective**. Each solver has its estimate: half the squared Newton decrement for
``newton``, the same in the metric that the others use. It does not depend on the units of the columns.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from futures_cluster import clocks
from futures_cluster.glm.array_types import Array
from futures_cluster.glm.objective import Objective, Point

#: Estimates of the distance below this part of the objective are rounding errors.
PRECISION = 4 * float(np.finfo(np.float64).eps)
#: Minimum number of rows from which a sample pays, the distance of its rows, and its minimum rows for each parameter.
SAMPLE_FROM = 10_000
SAMPLE_STRIDE = 16
SAMPLE_ROWS_A_PARAMETER = 20


@dataclass(frozen=True)
class Options:
    """How to solve.

    Attributes
    ----------
    tol : float
        Relative distance of the objective from its minimum.
    max_iter : int
    callback : callable or None
        Called as ``callback(iteration)`` with an ``Iteration``; a true answer stops.
    verbose : bool
        Show progress on stderr.
    sample : bool
        Start from the optimum of a sample, if there are many rows.
    """

    tol: float = 1e-10
    max_iter: int = 100
    callback: Callable[[Iteration], Any] | None = None
    verbose: bool = False
    sample: bool = True


@dataclass(frozen=True)
class Iteration:
    """One line of the history.

    Attributes
    ----------
    number : int
        From 0, the start, on.
    objective, gradient_norm : float
        The norm is the largest entry; with an l1 penalty of the proximal gradient.
    gap : float
        Estimated distance of the objective from its minimum.
    seconds : float
        Since the start.
    theta : array
        The parameters; not kept in ``history_``.
    """

    number: int
    objective: float
    gradient_norm: float
    gap: float
    seconds: float
    theta: Array = field(repr=False)


@dataclass
class Result:
    """What a solver found.

    Attributes
    ----------
    theta : array
    objective : float
    n_iter : int
    converged : bool
    history : dict of lists
        ``objective``, ``gradient_norm``, ``seconds``.
    message : str
        Why it stopped.
    """

    theta: Array
    objective: float
    n_iter: int
    converged: bool
    history: dict[str, list[float]]
    message: str


class StartNotFinite(ValueError):
    """The objective is NaN or infinite where a solver starts."""

    def __init__(self) -> None:
        super().__init__("the objective is not finite at the start: scale the columns, or do not start warm")


class SolverRun:
    """The record of one run of a solver."""

    def __init__(self, name: str, options: Options, base: float = 0.0) -> None:
        self.name = name
        self.base = base
        self.options = options
        self.started = clocks.perf_counter()
        self.history: dict[str, list[float]] = {"objective": [], "gradient_norm": [], "seconds": []}
        self.first: float | None = None
        self.asked_to_stop = False
        self.converged = False
        self.shown = False

    def record(self, theta: Array, objective: float, gradient_norm: float, gap: float) -> bool:
        """Write one iteration down; True when the solver should stop."""
        seconds = clocks.perf_counter() - self.started
        number = len(self.history["objective"])
        self.history["objective"].append(objective)
        self.history["gradient_norm"].append(gradient_norm)
        self.history["seconds"].append(seconds)
        if self.first is None:
            self.first = objective
        options = self.options
        if options.verbose:
            line = f"{self.name} {number:4d}  objective {objective:.10g}  gradient {gradient_norm:.2e}  gap {gap:.1e}"
            if sys.stderr.isatty():
                sys.stderr.write(f"\r{line}  {seconds:.1f} s\x1b[K")
                self.shown = True
            else:
                sys.stderr.write(f"{line}  {seconds:.1f} s\n")
        if options.callback is not None and options.callback(
            Iteration(number, objective, gradient_norm, gap, seconds, theta)
        ):
            self.asked_to_stop = True
            return True
        if gap <= self.threshold(objective):
            self.converged = True
            return True
        return number >= options.max_iter

    def threshold(self, objective: float) -> float:
        """Return the distance that is good enough, by where the objective came from."""
        scale = max(abs(objective), 1e-6 * abs(self.first or 0.0), float(np.finfo(np.float64).tiny))
        return max(self.options.tol * scale, PRECISION * (scale + abs(self.base)))

    def result(self, theta: Array, objective: float, trouble: str | None = None) -> Result:
        """End the run, with a warning if it is not at the minimum."""
        if self.shown:
            sys.stderr.write("\n")
        n_iter = max(1, len(self.history["objective"]) - 1)
        message = "converged" if self.converged else "stopped by the callback"
        if not self.converged and not self.asked_to_stop:
            message = trouble or f"max_iter={self.options.max_iter} iterations were not enough"
            ways = "scale the columns or the target, or add a penalty"
            if self.name != "newton":
                ways = "scale the columns, add a penalty, or take solver='newton'"
            warn_of_convergence(
                f"{self.name}: {message}; the objective is {objective:.6g}. Raise max_iter or tol, {ways}"
            )
        return Result(theta, objective, n_iter, self.converged, self.history, message)


def warn_of_convergence(text: str) -> None:
    """Warn with scikit-learn's class, so that its users' filters work."""
    from sklearn.exceptions import ConvergenceWarning

    warnings.warn(text, ConvergenceWarning, stacklevel=2)


def gradient_norm(objective: Objective, point: Point) -> float:
    """Return the largest entry of the gradient, or of the minimum-norm subgradient."""
    gradient = point.gradient
    if not objective.penalty.is_smooth:
        n = objective.n_coefs
        gradient = np.concatenate([objective.penalty.min_norm_subgradient(point.theta[:n], gradient[:n]), gradient[n:]])
    return float(np.max(np.abs(gradient), initial=0.0))


def sample_of(objective: Objective, options: Options) -> Objective | None:
    """Return a sample whose optimum is a good start, if it pays."""
    rows = objective.all_rows.n_rows // objective.stride
    if not options.sample or rows < max(SAMPLE_FROM, SAMPLE_STRIDE * SAMPLE_ROWS_A_PARAMETER * objective.size):
        return None
    return objective.sampled(objective.stride * SAMPLE_STRIDE)


def better_start(
    objective: Objective, theta: Array, options: Options, solver: Callable[[Objective, Array, Options], Result]
) -> Array:
    """Return the optimum over a sample of the rows, if better than ``theta``.

    The sample may start from a sample of its own. A sixteenth of the rows gives, for a sixteenth of the price an
    iteration, coefficients as near as that many rows allow; from there few iterations over all rows remain.
    """
    sample = sample_of(objective, options)
    if sample is None:
        return theta
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rough = Options(tol=1e-4, max_iter=min(options.max_iter, 20))
        found = solver(sample, theta, rough)
    return found.theta if np.all(np.isfinite(found.theta)) else theta


def first_point(
    objective: Objective, theta: Array, options: Options, solver: Callable[[Objective, Array, Options], Result]
) -> Point:
    """Return objective and gradient at the better start, else at ``theta``.

    Raises
    ------
    StartNotFinite
        When it is finite at neither.
    """
    better = better_start(objective, theta, options, solver)
    point = objective.at(better)
    if not point.is_finite and better is not theta:
        point = objective.at(theta)
    if not point.is_finite:
        raise StartNotFinite()
    return point
