"""What the data determine: null directions, the shortest coefficients, and what doubles cannot resolve.

A null direction is a change of the parameters that changes no prediction: of the coefficients of two equal columns, or
of more columns than rows. A Hessian knows such directions up to the root of its rounding errors only. Columns that
differ by a hundred-millionth of their deviation look equal in it; so the rows are asked once more, along these
directions alone, whether the direction says something.

Does not cover: standard errors (``inference``), classes that are separated (``separation``).
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg

from futures_cluster.glm.array_types import Array
from futures_cluster.glm.objective import Objective
from futures_cluster.glm.passes import block_images
from futures_cluster.glm.solvers.linear import Diagonal, Factor, conjugate_gradients
from futures_cluster.numbers import listed

#: Rounding errors of a combination of columns that is zero, relative to the columns.
EXACT = 1e-13
#: The same when rounding errors of the null direction itself come on top.
NEARLY = 1e-8
#: The least part of a direction that counts, relative to the largest.
PART = 1e-6
#: How exactly coefficients are shortened without a Hessian, and how exactly predictions must stay what they are.
SHORTEN_TOL, SAME = 1e-12, 1e-8


@dataclass(frozen=True)
class Identification:
    """What the data determine of the parameters.

    Attributes
    ----------
    rank : int
        Number of parameters, or of their combinations, that are determined.
    undetermined : array of bool
        Which parameters are not, of the columns as they are, the intercept last.
    dropped : array of bool
        Which of these are part of a combination that doubles cannot resolve, though the data say something about it.
    """

    rank: int
    undetermined: Array
    dropped: Array


def identify(objective: Objective, theta: Array, information: Array, factor: Factor) -> tuple[Identification, Array]:
    """Return what the data determine, and which null directions are none.

    Parameters
    ----------
    information : array
        The Hessian of the summed loss of the ``objective`` at ``theta``.
    factor : Factor
        Of the information.
    """
    null, center = factor.null, objective.column_center
    is_dropped = _say_something(objective, theta, information, factor)
    found = Identification(
        rank=len(theta) - null.shape[1],
        undetermined=_parts_of(null, factor.scale, factor.means, center),
        dropped=_parts_of(null[:, is_dropped], factor.scale, factor.means, center),
    )
    return found, is_dropped


def _say_something(objective: Objective, theta: Array, information: Array, factor: Factor) -> Array:
    """Return which null directions are due to the information's rounding errors."""
    null, rows, n = factor.null, objective.all_rows, objective.n_coefs
    if not null.shape[1]:
        return np.zeros(0, dtype=bool)
    sums = sum(rows.each(block_images, objective.family, objective.intercept, theta, rows.share(null)))
    images, (own, plain) = sums[: null.size].reshape(null.shape), sums[null.size : -n].reshape(2, -1)
    # Less what the other columns explain.
    explained = np.einsum("ij,ij->j", images, factor.solve(images))
    parts = null[:n] ** 2
    noise = EXACT**2 * np.diagonal(information)[:n] + objective.noise_of(information)
    plain_noise = NEARLY**2 * sums[-n:] + objective.noise(objective.weight)
    # Curvature vanishes where classes are separated; what moves such rows is no null direction.
    return (own - explained > noise @ parts) | (plain > plain_noise @ parts)


def shortest_by_products(objective: Objective, theta: Array) -> Array:
    """Return the shortest coefficients with the same predictions, without a Hessian.

    Conjugate gradients from zero, without a preconditioner, stay among the combinations of rows. They need at most as
    many passes as there are rows, so this is for fewer rows than columns, where the shortest coefficients are others.
    """
    n, rows = objective.n_coefs, objective.all_rows.n_rows
    if objective.outputs > 1 or rows > n:
        return theta
    means = np.zeros((n, 0))
    if objective.intercept:
        image = objective.product(theta, np.append(np.zeros(n), 1.0))
        means = image[:n, None] / image[n]

    def gram(coefs: Array) -> Array:
        return objective.product(theta, np.concatenate([coefs, -means.T @ coefs]))[:n]

    target = gram(theta[:n])
    coefs = conjugate_gradients(gram, target, Diagonal(np.ones(n)), SHORTEN_TOL, rows)
    if not np.linalg.norm(gram(coefs) - target) <= SAME * np.linalg.norm(target):
        return theta
    return np.concatenate([coefs, theta[n:] + means.T @ (theta[:n] - coefs)])


def _parts_of(directions: Array, scale: Array, means: Array, center: Array | None) -> Array:
    """Return which parameters have a part in any of these directions."""
    coefs = directions[: len(scale)]
    parts = np.abs(coefs) / scale[:, None]
    has_part = np.any(parts > PART * np.max(parts, axis=0, initial=0.0), axis=1)
    if len(directions) == len(scale):
        return has_part
    means = means[:, 0] if center is None else means[:, 0] + center
    shift = np.abs(means @ coefs) > PART * (np.abs(means) @ np.abs(coefs))
    return np.append(has_part, np.any(shift))


def warn_of_dropped(identification: Identification, names: Sequence[str]) -> None:
    """Warn when columns differ, but not enough for doubles."""
    if np.any(identification.dropped):
        warnings.warn(
            f"the columns {name_some(names, identification.dropped)} are collinear but for differences that double "
            "precision cannot resolve, and the model leaves these differences out: replace columns by their "
            "differences, drop one of them, or add a penalty",
            scipy.linalg.LinAlgWarning,
            stacklevel=2,
        )


def name_some(names: Sequence[str], which: Array) -> str:
    """Return the names of some columns, for a message."""
    return listed(list(itertools.compress(names, which)))
