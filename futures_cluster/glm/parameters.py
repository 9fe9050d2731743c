"""Names of parameters and attributes: what other libraries call them, and what to use here.

Covers: keyword arguments that no estimator has, attributes that scikit-learn's or dask-glm's estimators have and ours
do not, docstrings with parameters that many estimators have, the values that parameters may have, and errors that name
the estimator and its parameter. Does not cover: what the parameters do (``estimators``, ``logistic``, ``regressors``,
``least_squares``).

``docs/guides/glm.md`` has a table of scikit-learn's parameters, and one of dask-glm's.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

from futures_cluster.glm.array_types import Array
from futures_cluster.numbers import shown

_T = TypeVar("_T")

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

#: Of cross-validated estimators, beside those.
UNKNOWN_CV = {
    "alpha_per_target": "fit one estimator for each target",
    "copy_X": "leave it out: rows are never overwritten",
    "dual": "leave it out: the minimum is that of the primal problem",
    "gcv_mode": "leave it out: the errors of all strengths come from one decomposition",
    "intercept_scaling": "leave it out: the intercept is not penalized",
    "n_alphas": "alphas takes a number, too",
    "n_jobs": "leave it out: folds are fitted at the same time, by workers or by threads",
    "penalty": "l1_ratios has the parts of l1 in the penalty, from 0 (l2) to 1 (l1)",
    "positive": "GridSearchCV over alpha of Ridge, Lasso or ElasticNet, which have positive, does that",
    "precompute": "leave it out: products of columns are computed where they pay",
    "random_state": "leave it out: no solver draws random numbers; cv=KFold(shuffle=True, random_state=...) does",
    "scoring": "GridSearchCV with the estimator without CV takes scores",
    "selection": "leave it out: it changes the way to the minimum only",
    "store_cv_results": "best_score_ has the best score; GridSearchCV with the estimator without CV has all",
    "store_cv_values": "best_score_ has the best score; GridSearchCV with the estimator without CV has all",
}

#: Arguments of ``fit`` that only some estimators have.
UNKNOWN_FIT = {
    "offset": "fit y - offset, which is the same for the identity link, and add the offset to what predict gives",
    "exposure": "regressors with a log link have it, such as PoissonRegressor; LogisticRegression has offset",
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
            advice = f"the parameters are {', '.join(known)}"
            if "cv" in known:
                advice = UNKNOWN_CV.get(name, advice)
            advice = UNKNOWN.get(name, advice)
            raise TypeError(f"{kind.__name__}() got an unexpected keyword argument {name!r}: {advice}")


def refuse_in_fit(model: Any, arguments: dict[str, Any]) -> None:
    """Refuse keyword arguments that ``fit`` does not have; see ``refuse``.

    Raises
    ------
    TypeError
        If there is one.
    """
    for name in arguments:
        known = [name for name in inspect.signature(model.fit).parameters if name != "unknown"]
        advice = UNKNOWN_FIT.get(name, f"the arguments are {', '.join(known)}")
        raise TypeError(f"{type(model).__name__}.fit() got an unexpected keyword argument {name!r}: {advice}")


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
    return ValueError(f"{type(model).__name__}({name}={shown(getattr(model, name))}): {name} must be {needed}")


# ---------------------------------------------------------------- docstrings


def documented_by(base: type) -> Callable[[type[_T]], type[_T]]:
    """Return a decorator that completes a docstring by that of a base class.

    ``%(Parameters)s`` stands for all entries of the base's section of that name, ``%(Attributes)s`` likewise.
    """

    def document(kind: type[_T]) -> type[_T]:
        if kind.__doc__ and base.__doc__:  # python -OO has none
            sections = re.findall(r"(\w+)\n *-+\n(.+?)(?=\n\n|\s*$)", base.__doc__, re.DOTALL)
            kind.__doc__ %= {name: entries.strip() for name, entries in sections}
        return kind

    return document


# ---------------------------------------------------------------- values


def _number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and bool(np.isfinite(value))


def _whole(value: Any) -> bool:
    return isinstance(value, int | np.integer)


def _truth(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)


def _numbers(value: Any, is_good: Callable[[Array], Array]) -> bool:
    """Return whether it is one number or more, in one dimension."""
    try:
        array = np.atleast_1d(np.asarray(value))
    except ValueError:  # lists in lists, of several lengths
        return False
    return array.ndim == 1 and len(array) > 0 and array.dtype.kind in "fiu" and bool(np.all(is_good(array)))


def _sequence(value: Any, is_good: Callable[[Array], Array]) -> bool:
    return np.ndim(value) == 1 and _numbers(value, is_good)


def _not_negative(array: Array) -> Array:
    return np.isfinite(array) & (array >= 0)


def _part(array: Array) -> Array:
    return (array >= 0) & (array <= 1)


_Rule = tuple[Callable[[Any], bool], str]


def _choice(*choices: Any) -> _Rule:
    """Return the rule of some values; the type counts, too, as True == 1."""
    texts = list(map(repr, choices))
    needed = " or ".join([", ".join(texts[:-1]), texts[-1]])
    return (lambda value: any(type(value) is type(each) and value == each for each in choices), needed)


_TRUTH: _Rule = (_truth, "True or False")
_RATIO = "a number from 0 (l2) to 1 (l1)"

#: The values that parameters have: a check, and what errors say. Names of classes come first where theirs differ.
VALUES: dict[str, _Rule] = {
    "C": (
        lambda value: (_number(value) and value > 0) or (isinstance(value, float | np.floating) and value == np.inf),
        "a positive number; np.inf is no penalty",
    ),
    "Cs": (
        lambda value: (_whole(value) and value >= 1) or _sequence(value, lambda array: array > 0),
        "a whole number from 1 on, or positive numbers",
    ),
    "alpha": (lambda value: _number(value) and value >= 0, "a number >= 0"),
    "Ridge.alpha": (lambda value: _numbers(value, _not_negative), "a number >= 0, or one for each target"),
    "alphas": (
        lambda value: value is None or (_whole(value) and value >= 1) or _sequence(value, _not_negative),
        "a whole number from 1 on, or numbers >= 0",
    ),
    "RidgeCV.alphas": (lambda value: _numbers(value, _not_negative), "numbers >= 0"),
    "callback": (lambda value: value is None or callable(value), "a function, or None"),
    "class_weight": (
        lambda value: (
            value is None
            or (isinstance(value, str) and value == "balanced")
            or (isinstance(value, Mapping) and all(_number(each) and each >= 0 for each in value.values()))
        ),
        "None, 'balanced', or a dict from classes to numbers >= 0",
    ),
    "copy_X": _TRUTH,
    "cv": (
        lambda value: (
            (
                value is None
                or (_whole(value) and not _truth(value) and value >= 2)
                or hasattr(value, "split")
                or isinstance(value, Iterable)
            )
            and not isinstance(value, str)
        ),
        "a number of folds from 2 on, a splitter, an iterable of pairs of rows, or None",
    ),
    "dual": _TRUTH,
    "eps": (lambda value: _number(value) and value > 0, "a positive number"),
    "fit_intercept": _TRUTH,
    "intercept_scaling": (lambda value: _number(value) and value > 0, "a positive number"),
    "l1_ratio": (lambda value: _number(value) and 0 <= value <= 1, _RATIO),
    "LogisticRegression.l1_ratio": (
        lambda value: value is None or (_number(value) and 0 <= value <= 1),
        f"{_RATIO}, or None for 0",
    ),
    "ElasticNetCV.l1_ratio": (lambda value: _numbers(value, _part), f"{_RATIO}, or several"),
    "l1_ratios": (lambda value: value is None or _sequence(value, _part), "numbers from 0 (l2) to 1 (l1), or None"),
    "link": _choice("auto", "identity", "log"),
    "max_iter": (
        lambda value: value is None or (_whole(value) and value >= 1),
        "a whole number from 1 on, or None for 1000",
    ),
    "n_jobs": (
        lambda value: value is None or (_whole(value) and value != 0),
        "a number of threads, -1 for one for each core, or None",
    ),
    "penalty": _choice("auto", "deprecated", "l2", "l1", "elasticnet", None),
    "positive": _TRUTH,
    "power": (
        lambda value: _number(value) and not 0 < value < 1,
        "a number that is not between 0 and 1, where no Tweedie distribution exists",
    ),
    "precompute": (
        lambda value: _truth(value) or (hasattr(value, "__len__") and not isinstance(value, str | bytes | Mapping)),
        "True, False, or the Gram matrix",
    ),
    "random_state": (
        lambda value: (
            value is None
            or (_whole(value) and 0 <= value < 2**32)
            or isinstance(value, np.random.RandomState | np.random.Generator)
        ),
        "a whole number from 0 to 4294967295, a numpy.random.RandomState, or None",
    ),
    "refit": _TRUTH,
    "scoring": (
        _choice(None, "accuracy", "neg_log_loss")[0],
        "None, 'accuracy' or 'neg_log_loss'; GridSearchCV with LogisticRegression takes others",
    ),
    "selection": _choice("cyclic", "random"),
    "theta": (lambda value: _number(value) and value > 0, "a positive number; for 0 take PoissonRegressor"),
    "tol": (lambda value: _number(value) and value >= 0, "a number >= 0"),
    # scikit-learn's default, "warn", means True.
    "use_legacy_attributes": (lambda value: _truth(value) or str(value) == "warn", "True or False"),
    "verbose": (lambda value: _truth(value) or (_whole(value) and value >= 0), "True, False, or a whole number >= 0"),
    "warm_start": _TRUTH,
}


def check_values(model: Any) -> None:
    """Check the values of an estimator's parameters.

    Raises
    ------
    ValueError
        With the class, the first parameter whose value makes no sense, and what it must be.
    """
    kinds = [f"{kind.__name__}." for kind in type(model).__mro__]
    for name, value in vars(model).items():
        if name in VALUES:
            rules = [VALUES[kind + name] for kind in kinds if kind + name in VALUES]
            is_good, needed = rules[0] if rules else VALUES[name]
            if not is_good(value):
                raise bad_value(model, name, needed)
