"""Inference: standard errors, tests, intervals, deviance, AIC of a fit without penalty.

Covers: the statistics, taken in two passes at the end of a fit, and their table. Does not cover: fits with a penalty,
and robust covariances.

Conventions: sample weights count rows, as frequencies. The covariance is the dispersion times the inverse of the
*expected* information. The dispersion of the normal, gamma and tweedie families is Pearson's chi square over the
residual degrees of freedom; of the others it is 1. The normal family is tested by Student's t, the others by the
normal distribution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from futures_cluster.glm.array_types import Array
from futures_cluster.glm.families import Family
from futures_cluster.glm.identification import Identification, identify, name_some
from futures_cluster.glm.objective import Objective
from futures_cluster.glm.offsets import without_offset
from futures_cluster.glm.rowblocks import RowBlock
from futures_cluster.glm.separation import Separation, separation_of
from futures_cluster.glm.solvers.linear import Factor

#: Rows whose linear predictors are computed at a time.
STATISTICS_ROWS = 8192


@dataclass(frozen=True)
class Statistics:
    """What a summary is made of.

    Attributes
    ----------
    rows : float
        Sum of the weights.
    df_residual : float
    covariance : array
        Of the parameters, the intercept last, already times the dispersion; NaN for parameters that the data do not
        determine, and for all if there are no residual degrees of freedom.
    dispersion, deviance, pearson, log_likelihood : float
    identification : Identification
    separation : Separation or None
    """

    rows: float
    df_residual: float
    covariance: Array
    dispersion: float
    deviance: float
    pearson: float
    log_likelihood: float
    identification: Identification
    separation: Separation | None


class Expected(Family):
    """A family whose curvature is the expected one, ``(d mean / d eta)**2 / variance``."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.outputs = family.outputs

    def derivatives(self, y: Array, eta: Array, order: int) -> tuple[Array, Array | None, Array | None]:
        loss, gradient, _ = self.family.derivatives(y, eta, min(order, 1))
        return loss, gradient, self.family.expected_curvature(y, eta) if order == 2 else None


def statistics_of(objective: Objective, theta: Array) -> tuple[Statistics, Array]:
    """Return the statistics at the optimum, and the shortest equal coefficients."""
    family, center = objective.family, objective.column_center
    rows = objective.all_rows
    expected = Objective(rows, Expected(family), objective.penalty, objective.intercept, column_center=center)
    point = expected.at(theta, 2)
    information = point.hessian * expected.weight
    weight, deviance, pearson, *terms = sum(rows.each(block_statistics, family, objective.intercept, theta))
    factor = Factor(information, objective.n_free, objective.noise_of(information))
    identification, is_dropped = identify(expected, theta, information, factor)
    step = -factor.solve(point.gradient * expected.weight)
    separation = separation_of(objective, theta, step, factor.null[:, is_dropped])
    undetermined = identification.undetermined
    if separation is not None:
        ends = separation.columns | separation.is_complete
        if objective.intercept:
            ends = np.append(ends, separation.intercept or separation.is_complete)
        undetermined = undetermined | ends
    df = float(weight) - identification.rank
    dispersion = (pearson / df if df > 0 else np.nan) if family.has_dispersion else 1.0
    covariance = factor.solve(np.eye(len(theta)))
    if center is not None:
        # The intercept of the columns as they are is that of the centred ones less center @ b.
        covariance[-1] -= center @ covariance[:-1]
        covariance[:, -1] -= covariance[:, :-1] @ center
    covariance *= dispersion if df > 0 else np.nan
    covariance[undetermined] = covariance[:, undetermined] = np.nan
    statistics = Statistics(
        rows=float(weight),
        df_residual=df,
        covariance=covariance,
        dispersion=float(dispersion),
        deviance=deviance,
        pearson=pearson,
        log_likelihood=family.log_likelihood(float(weight), float(deviance), float(dispersion), np.array(terms)),
        identification=identification,
        separation=separation,
    )
    return statistics, factor.shortest(theta, is_dropped)


def block_statistics(block: RowBlock, family: Family, intercept: bool, theta: Array) -> Array:
    """Return weight, deviance, Pearson's chi square and likelihood terms; a task."""
    q = block.n_features
    eta = np.empty(block.n_rows)
    start = 0
    for x, y, _ in block.pieces((0, block.n_rows), STATISTICS_ROWS, 1, sparse_as_dense=False):
        eta[start : start + len(y)] = x @ theta[:q] + (theta[q] if intercept else 0.0)
        start += len(y)
    family, y, eta = without_offset(family, block.y, eta)
    weights = np.ones(len(y)) if block.weights is None else block.weights
    with np.errstate(all="ignore"):
        each = [*family.fit_of(y, eta), *family.likelihood_terms(y, family.mean(eta))]
    # Rows without weight may be infinitely far away.
    return np.array([weights.sum(), *[weights @ np.where(weights > 0, values, 0.0) for values in each]])


class Summary:
    """The table that ``summary()`` gives; ``print`` it, or take its attributes.

    Attributes
    ----------
    names : list of str
        The intercept is ``const`` and comes first.
    coef, std_err, statistic, p_values : arrays
    intervals : array of shape (coefficients, 2)
        95 %.
    deviance, log_likelihood, aic, dispersion : float
    df_residual : float
    """

    model: str
    solver: str
    n_iter: int
    family: Family
    names: list[str]
    coef: Array
    rows: float
    df_residual: float
    separation: Separation | None
    rank: int
    undetermined: Array
    std_err: Array
    statistic: Array
    is_t: bool
    p_values: Array
    intervals: Array
    deviance: float
    pearson: float
    log_likelihood: float
    aic: float
    dispersion: float

    def __init__(
        self,
        family: Family,
        names: list[str],
        coef: Array,
        statistics: Statistics,
        model: str,
        solver: str,
        n_iter: int,
    ) -> None:
        import scipy.stats  # takes longer to import than most fits take

        order: Array = np.arange(len(coef))
        if names[0] == "const" and len(coef) == statistics.covariance.shape[0]:
            order = np.roll(order, 1)  # the intercept is last in the covariance
        self.model, self.solver, self.n_iter, self.family = model, solver, n_iter, family
        self.names, self.coef = names, coef
        self.rows, self.df_residual = statistics.rows, statistics.df_residual
        self.separation = statistics.separation
        self.rank = statistics.identification.rank
        self.undetermined = statistics.identification.undetermined[order]
        with np.errstate(all="ignore"):
            self.std_err = np.sqrt(np.diagonal(statistics.covariance))[order]
            self.statistic = coef / self.std_err
            self.is_t = family.name == "normal"
            law: Any = scipy.stats.t(max(self.df_residual, 1)) if self.is_t else scipy.stats.norm
            self.p_values = 2.0 * law.sf(np.abs(self.statistic))
            reach = law.ppf(0.975) * self.std_err
        self.intervals = np.column_stack([coef - reach, coef + reach])
        self.deviance, self.pearson = statistics.deviance, statistics.pearson
        self.log_likelihood = statistics.log_likelihood
        self.aic = 2.0 * self.rank - 2.0 * statistics.log_likelihood
        self.dispersion = statistics.dispersion

    def to_frame(self) -> Any:
        """Return the coefficients as a pandas data frame."""
        import pandas

        return pandas.DataFrame(
            {
                "coef": self.coef,
                "std err": self.std_err,
                "t" if self.is_t else "z": self.statistic,
                "P>|t|" if self.is_t else "P>|z|": self.p_values,
                "[0.025": self.intervals[:, 0],
                "0.975]": self.intervals[:, 1],
            },
            index=self.names,
        )

    def __str__(self) -> str:
        letter = "t" if self.is_t else "z"
        rows = [["", "coef", "std err", letter, f"P>|{letter}|", "[0.025", "0.975]"]]
        for i, name in enumerate(self.names):
            numbers = [self.std_err[i], self.statistic[i]]
            ends = [_number(each, 3) for each in self.intervals[i]]
            p_value = f"{self.p_values[i]:.3f}"
            rows.append([name, _number(self.coef[i], 4), *[_number(each, 3) for each in numbers], p_value, *ends])
        widths = [max(12, *(len(row[0]) for row in rows))]
        widths += [max(11, *(len(row[k]) + 2 for row in rows)) for k in range(1, len(rows[0]))]
        line = sum(widths)
        facts = [
            ("Model:", self.model, "No. Observations:", f"{self.rows:g}"),
            ("Family:", self.family.name, "Df Residuals:", f"{self.df_residual:g}"),
            ("Solver:", self.solver, "Df Model:", f"{self.rank - (self.names[0] == 'const')}"),
            ("No. Iterations:", str(self.n_iter), "Scale:", f"{self.dispersion:.5g}"),
            ("Log-Likelihood:", _known(self.log_likelihood), "Deviance:", f"{self.deviance:.6g}"),
            ("AIC:", _known(self.aic), "Pearson chi2:", f"{self.pearson:.6g}"),
        ]
        half = max(line // 2 - 1, 17 + max(len(fact[1]) for fact in facts))
        line = max(line, half + 21 + max(len(fact[3]) for fact in facts))
        widths[0] += line - sum(widths)
        lines = ["Generalized Linear Model".center(line).rstrip(), "=" * line]
        for left, value, right, other in facts:
            lines.append(f"{left:<17}{value:>{half - 17}}  {right:<19}{other:>{line - half - 21}}")
        lines.append("=" * line)
        for row in rows:
            cells = [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:])]
            lines.append(f"{row[0]:<{widths[0]}}" + "".join(cells))
        lines.insert(-len(self.names), "-" * line)
        lines.append("=" * line)
        if self.df_residual <= 0:
            lines.append("There are no residual degrees of freedom, so there are no standard errors.")
        if self.separation is not None:
            kind = "completely" if self.separation.is_complete else "for some rows"
            lines.append(f"Columns separate the targets {kind}: coefficients without standard errors have no optimum.")
        if np.any(self.undetermined):
            names = name_some(self.names, self.undetermined)
            lines.append(f"Columns are collinear, so these coefficients have no standard errors: {names}")
        return "\n".join(lines)

    __repr__ = __str__


def _known(value: float) -> str:
    return "not available" if np.isnan(value) else f"{value:.6g}"


def _number(value: float, digits: int) -> str:
    """Return a number with decimals, or with an exponent where these do not fit.

    Examples
    --------
    >>> _number(-0.25, 4), _number(2.5e-7, 4), _number(3e15, 3)
    ('-0.2500', '2.5000e-07', '3.000e+15')
    """
    is_plain = value == 0 or 10.0**-digits <= abs(value) < 1e6 or not np.isfinite(value)
    return f"{value:.{digits}f}" if is_plain else f"{value:.{digits}e}"
