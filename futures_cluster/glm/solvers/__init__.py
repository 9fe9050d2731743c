"""Solvers: from an ``Objective`` to its minimum.

Covers: the solvers by name. Does not cover: each solver (a module each), the objective.

All have one signature, ``solver(objective, theta, options) -> Result``, and see nothing but the objective.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from futures_cluster.glm.objective import Objective
from futures_cluster.glm.solvers.admm import admm, async_admm
from futures_cluster.glm.solvers.base import Options, Result
from futures_cluster.glm.solvers.first_order import gradient_descent, proximal_grad
from futures_cluster.glm.solvers.lbfgs import lbfgs
from futures_cluster.glm.solvers.newton import newton

SOLVERS: dict[str, Callable[[Any, Any, Options], Result]] = {
    "newton": newton,
    "lbfgs": lbfgs,
    "gradient_descent": gradient_descent,
    "proximal_grad": proximal_grad,
    "admm": admm,
    "async_admm": async_admm,
}

#: scikit-learn's names of solvers, so that an import can be changed and nothing else.
ALIASES = {
    "newton-cholesky": "newton",
    "newton-cg": "newton",
    "cholesky": "newton",
    "svd": "newton",
    "lsqr": "newton",
    "sparse_cg": "newton",
    "liblinear": "newton",
    "sag": "gradient_descent",
    "saga": "proximal_grad",
}

#: Those that can handle an l1 penalty.
NON_SMOOTH = ("newton", "proximal_grad", "admm", "async_admm")

__all__ = ["ALIASES", "NON_SMOOTH", "SOLVERS", "Options", "Result", "solver_for", *SOLVERS]


def solver_for(name: str, objective: Objective) -> str:
    """Return the solver that a name of scikit-learn or ``"auto"`` stands for."""
    if name == "auto":
        return "newton" if objective.has_hessian else "lbfgs" if objective.penalty.is_smooth else "proximal_grad"
    return ALIASES.get(name, name)
