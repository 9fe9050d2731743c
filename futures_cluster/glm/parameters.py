"""Names of parameters and attributes: what other libraries call them, and what to use here.

Covers: keyword arguments that no estimator has, attributes that scikit-learn's or dask-glm's estimators have and ours
do not, and errors that name the estimator and its parameter. Does not cover: what the parameters do (``estimators``,
``logistic``, ``regressors``, ``least_squares``).

``docs/glm.md`` has a table of scikit-learn's parameters, and one of dask-glm's.
"""

from __future__ import annotations

import inspect
from typing import Any

#: Keyword arguments of dask-glm, and of older versions of scikit-learn.
UNKNOWN = {
    "regularizer": (
        "the penalty is l1_ratio=0 (l2) to 1 (l1) for LogisticRegression, the class for least squares "
        "(LinearRegression has none, Ridge l2, Lasso l1, ElasticNet both), and l2 for PoissonRegressor"
    ),
    "lamduh": (
        "the strength is C=1/lamduh for LogisticRegression, alpha=lamduh/2 for Ridge, alpha=lamduh/rows for "
        "PoissonRegressor, alpha=lamduh/(2*rows) for Lasso and ElasticNet"
    ),
    "rho": "leave it out: solver='admm' adapts it",
    "over_relax": "leave it out: solver='admm' relaxes by 1.6",
    "abstol": "use tol, the relative accuracy of the objective",
    "reltol": "use tol, the relative accuracy of the objective",
    "normalize": "scale the columns by make_pipeline(StandardScaler(), ...)",
    "multi_class": (
        "leave it out: three or more classes share one multinomial model; "
        "sklearn.multiclass.OneVsRestClassifier fits one model for each class"
    ),
}

#: Attributes of scikit-learn's and dask-glm's estimators.
ABSENT = {
    "dual_gap_": "history_['objective'] has the objective of each iteration; tol bounds its distance from the minimum",
    "rank_": "numpy.linalg.matrix_rank(X - X.mean(axis=0)) computes it",
    "singular_": "numpy.linalg.svd(X - X.mean(axis=0), compute_uv=False) computes them",
    "set_callbacks": "pass callback=function to the constructor, which is called after each iteration",
    "get_deviance": "sklearn.metrics.mean_poisson_deviance(y, model.predict(X)) is the mean deviance",
}


def refuse(kind: type, parameters: dict[str, Any]) -> None:
    """Refuse keyword arguments that the constructor of a class does not have.

    Raises
    ------
    TypeError
        If there is one: with the class, the argument and what to do.

    Examples
    --------
    >>> class Model:
    ...     def __init__(self, *, tol=0.1): ...
    >>> refuse(Model, {"reltol": 1e-3})
    Traceback (most recent call last):
    TypeError: Model() got an unexpected keyword argument 'reltol': use tol, the relative accuracy of the objective
    """
    known = inspect.signature(kind).parameters
    if any(each.kind is each.VAR_KEYWORD for each in known.values()):
        return  # of a subclass, which knows what it does
    for name in parameters:
        if name not in known:
            advice = UNKNOWN.get(name, f"the parameters are {', '.join(known)}")
            raise TypeError(f"{kind.__name__}() got an unexpected keyword argument {name!r}: {advice}")


def absent(model: Any, name: str) -> AttributeError:
    """Return the error for an attribute of ``ABSENT``."""
    text = f"{type(model).__name__!r} object has no attribute {name!r}: {ABSENT[name]}"
    return AttributeError(text, name=name, obj=model)


def bad_value(model: Any, name: str, needed: str) -> ValueError:
    """Return the error for a parameter whose value makes no sense.

    Examples
    --------
    >>> class Model:
    ...     alpha = -1
    >>> bad_value(Model(), "alpha", "a number >= 0")
    ValueError('Model(alpha=-1): alpha must be a number >= 0')
    """
    return ValueError(f"{type(model).__name__}({name}={getattr(model, name)!r}): {name} must be {needed}")


def check_choice(model: Any, name: str, *choices: Any) -> None:
    """Check that a parameter has one of some values.

    Raises
    ------
    ValueError
        If it has another one.
    """
    value = getattr(model, name)
    # By type, too: True == 1. Arrays and the like are no choice.
    if not any(type(value) is type(each) and value == each for each in choices):
        raise bad_value(model, name, " or ".join([", ".join(map(repr, choices[:-1])), repr(choices[-1])]))
