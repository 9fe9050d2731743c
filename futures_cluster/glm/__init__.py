"""Generalized linear models on local arrays, and on row blocks that stay on workers.

Covers: the public names, each loaded when it is first used. Does not cover: anything else.

Each module knows only those before it::

    array_types             what annotations say
    families, penalties     one observation; the coefficients
    offsets                 a known part of the linear predictor
    centering               what is subtracted from columns
    columns, categories     columns of tables as numbers
    rowblocks, trees        some rows; the order of additions
    block_facts             what is checked of all blocks
    passes                  one pass over some rows
    sums, objective         all rows, wherever they are; what is minimized
    solvers                 how
    identification          what the data determine
    separation              what they determine too well
    inference               standard errors, tests, the summary
    parquet, files          rows of files
    sources, targets        what users have, as row blocks
    predictions, scores     a fit and the rows of a collection
    parameters, estimators  scikit-learn's names
    folds, gram, paths      many fits on blocks that are placed once
    cross_validation        the penalty chosen by these
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = [
    "ElasticNet",
    "ElasticNetCV",
    "GammaRegressor",
    "InverseGaussianRegressor",
    "Lasso",
    "LassoCV",
    "LinearRegression",
    "LogisticRegression",
    "LogisticRegressionCV",
    "NegativeBinomialRegressor",
    "PoissonRegressor",
    "Ridge",
    "RidgeCV",
    "TweedieRegressor",
]

_MODULES = dict.fromkeys(__all__, "futures_cluster.glm.regressors")
_MODULES |= dict.fromkeys(["ElasticNet", "Lasso", "LinearRegression", "Ridge"], "futures_cluster.glm.least_squares")
_MODULES["LogisticRegression"] = "futures_cluster.glm.logistic"
_MODULES["LogisticRegressionCV"] = "futures_cluster.glm.logistic_cv"
_MODULES |= dict.fromkeys(["ElasticNetCV", "LassoCV", "RidgeCV"], "futures_cluster.glm.cross_validation")
_MODULES |= dict.fromkeys(["InverseGaussianRegressor", "NegativeBinomialRegressor"], "futures_cluster.glm.dispersed")

if TYPE_CHECKING:
    from futures_cluster.glm.cross_validation import ElasticNetCV, LassoCV, RidgeCV
    from futures_cluster.glm.dispersed import InverseGaussianRegressor, NegativeBinomialRegressor
    from futures_cluster.glm.least_squares import ElasticNet, Lasso, LinearRegression, Ridge
    from futures_cluster.glm.logistic import LogisticRegression
    from futures_cluster.glm.logistic_cv import LogisticRegressionCV
    from futures_cluster.glm.regressors import GammaRegressor, PoissonRegressor, TweedieRegressor


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(import_module(_MODULES[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("numpy", "scipy", "sklearn"):
            raise ModuleNotFoundError(f"{error}: pip install 'futures-cluster[glm]'", name=error.name) from error
        raise
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
