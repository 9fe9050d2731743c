"""scikit-learn's parameters, methods and attributes: each works here, or is refused by name.

Covers: constructors, ``fit``, public methods and fitted attributes of the installed scikit-learn against ours; the
table in ``docs/guides/glm.md``; what the parameters do. Does not cover: dask-glm's (``tests/interop``).
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn")
import scipy.sparse
from sklearn import linear_model
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.fixes import parse_version

from futures_cluster import glm
from futures_cluster.glm import estimators, sums
from futures_cluster.glm.parameters import ABSENT, UNKNOWN, UNKNOWN_CV, UNKNOWN_FIT, check_values, documented_by

DOCS = Path(__file__).parents[2] / "docs/guides/glm.md"
LEAST_SQUARES = ["LinearRegression", "Ridge", "Lasso", "ElasticNet"]
NAMES = [*LEAST_SQUARES, "LogisticRegression", "PoissonRegressor", "GammaRegressor", "TweedieRegressor"]
#: Older versions of scikit-learn have other parameters.
IS_NEW = parse_version(sklearn.__version__) >= parse_version("1.8")

RNG = np.random.default_rng(0)
X = RNG.standard_normal((120, 5)) + RNG.standard_normal((120, 1))
COEFS = np.array([[1.0, -0.7, 0.5, 0.0, 0.8], [-0.4, 0.9, 0.0, 0.3, -1.2], [0.0, 0.6, 0.2, -0.9, 0.5]])
Y = X @ COEFS.T + RNG.standard_normal((120, 3)) + 2.0
COUNTS = RNG.poisson(2.0, size=120) + 1.0
TWO = Y[:, 0] > 2.0
WEIGHTS = RNG.random(120)


def parameters_of(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters) - {"self"}


def theirs(name: str, **parameters: Any) -> Any:
    """scikit-learn's estimator, as exact as it can be."""
    kind = getattr(linear_model, name)
    exact = {"tol": 1e-12, "max_iter": 100_000} if name in ("Lasso", "ElasticNet", "Ridge") else {}
    return kind(**exact, **parameters)


def target_of(name: str) -> Any:
    return TWO if name.startswith("Logistic") else COUNTS


# ---------------------------------------------------------------- nothing is missing


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_accepted_or_refused_with_advice(name: str) -> None:
    ours = getattr(glm, name)
    for parameter, each in inspect.signature(getattr(linear_model, name)).parameters.items():
        if parameter in parameters_of(ours):
            model = ours(**{parameter: each.default}).fit(X, target_of(name))  # also with scikit-learn's default
            assert clone(model).get_params()[parameter] is each.default
        else:
            assert parameter in UNKNOWN, f"{name} knows nothing of {parameter}"
    assert parameters_of(getattr(linear_model, name).fit) <= parameters_of(ours.fit)


@pytest.mark.parametrize("name", NAMES)
def test_every_method_and_fitted_attribute_is_there_or_refused_with_advice(name: str) -> None:
    reference = getattr(linear_model, name)().fit(X, target_of(name))
    model = getattr(glm, name)().fit(X, target_of(name))
    for attribute in dir(reference):
        if attribute.startswith("_") or attribute in reference.get_params() or hasattr(model, attribute):
            continue
        assert attribute in ABSENT, f"{name} knows nothing of {attribute}"
        with pytest.raises(AttributeError, match=rf"{name}.*{attribute}.*: {re.escape(ABSENT[attribute][:20])}"):
            getattr(model, attribute)


def test_the_table_in_the_documentation_is_complete() -> None:
    text = DOCS.read_text().partition("### Parameters of scikit-learn")[2].partition("\n##")[0]
    listed = set()
    for line in text.splitlines():
        if line.startswith("| `"):
            parameters, kinds, what = line.strip("| ").split(" | ", 2)
            assert what
            for kind in NAMES if kinds == "all" else re.findall(r"`(\w+)`", kinds):
                pairs = {(kind, each) for each in re.findall(r"`(\w+)`", parameters)}
                assert not pairs & listed, f"{pairs & listed} are listed twice"
                listed |= pairs
    installed = {(name, each) for name in NAMES for each in parameters_of(getattr(linear_model, name))}
    assert {pair for pair in installed - listed if pair[1] not in UNKNOWN} == set()
    if IS_NEW:
        assert listed - installed == set()


# ---------------------------------------------------------------- docstrings


@pytest.mark.parametrize("name", glm.__all__)
def test_every_parameter_is_explained(name: str) -> None:
    kind = getattr(glm, name)
    entries = re.findall(r"^([\w, ]+?)(?: : .+)?\n(?=    \w|    `)", inspect.getdoc(kind) or "", re.MULTILINE)
    explained = [each for names in entries for each in names.split(", ")]
    assert parameters_of(kind) <= set(explained)
    assert len(set(explained)) == len(explained)
    assert "%(" not in kind.__doc__


@pytest.mark.parametrize("strip", [str, inspect.cleandoc])  # from Python 3.13 on, docstrings have no indentation
def test_docstrings_get_the_entries_of_another(strip: Any) -> None:
    entries = "Parameters\n    ----------\n    {}\n\n    Attributes\n    ----------\n    {}\n    "
    tol, coef = "tol : float\n        Accuracy.\n    verbose", "coef_ : array\n        Coefficients."
    base = type("Base", (), {"__doc__": strip("A base.\n\n    " + entries.format(tol, coef))})
    model = type(
        "Model", (), {"__doc__": strip("A model.\n\n    " + entries.format("%(Parameters)s", "%(Attributes)s"))}
    )
    assert documented_by(base)(model).__doc__ == strip("A model.\n\n    " + entries.format(tol, coef))


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize("name", glm.__all__)
def test_a_parameter_that_no_estimator_has_is_refused_with_the_name_of_the_class(name: str) -> None:
    kind = getattr(glm, name)
    with pytest.raises(TypeError, match=rf"^{name}\(\) .* 'normalize': scale the columns"):
        kind(normalize=True)
    with pytest.raises(TypeError, match=rf"^{name}\(\) .* 'colour': the parameters are .*fit_intercept"):
        kind(colour="red")


@pytest.mark.parametrize("name", ["RidgeCV", "LassoCV", "ElasticNetCV", "LogisticRegressionCV"])
def test_parameters_that_cross_validation_has_not_are_refused_with_advice(name: str) -> None:
    ours = getattr(glm, name)
    for parameter in parameters_of(getattr(linear_model, name)) - parameters_of(ours):
        advice = {**UNKNOWN_CV, **UNKNOWN}[parameter]
        with pytest.raises(
            TypeError, match=re.escape(f"{name}() got an unexpected keyword argument {parameter!r}: ")
        ) as e:
            ours(**{parameter: None})
        assert str(e.value).endswith(advice)


@pytest.mark.parametrize("name", glm.__all__)
def test_arguments_that_fit_does_not_have_are_refused_with_the_name_of_the_class(name: str) -> None:
    model = getattr(glm, name)()
    known = parameters_of(model.fit)
    for argument, advice in {**UNKNOWN_FIT, "colour": "the arguments are X, y, sample_weight, "}.items():
        if argument not in known:
            text = f"{name}.fit() got an unexpected keyword argument {argument!r}: {advice}"
            with pytest.raises(TypeError, match=re.escape(text)):
                model.fit(X, target_of(name), **{argument: 1.0})


def test_subclasses_may_have_parameters_of_their_own() -> None:
    class Other(glm.Ridge):
        def __init__(self, **parameters: Any) -> None:
            super().__init__(parameters.pop("strength"), **parameters)

    assert Other(strength=2.0, tol=0.1).alpha == 2.0


def test_an_elastic_net_needs_its_ratio() -> None:
    model = glm.LogisticRegression(penalty="elasticnet", l1_ratio=None)
    with pytest.raises(ValueError, match=r"LogisticRegression\(l1_ratio=None\): l1_ratio must be .*'elasticnet'"):
        model.fit(X, TWO)


#: Values that make no sense. By name of the parameter, or of the class and the parameter where these differ.
BAD: dict[str, list[Any]] = {
    "C": [0, "1", None, np.nan],
    "Cs": [[], 0, [-1], "x", [[1.0]]],
    "alpha": [-1, "1", None, np.inf],
    "Ridge.alpha": [-1, "1", None, [], [1.0, -1.0], np.inf],
    "alphas": [0, [], [-1.0], "x"],
    "RidgeCV.alphas": [[], -1, [0.0], "x", None],
    "callback": [1, "x"],
    "class_weight": ["foo", 1, {"a": "x"}, {"a": -1}, {"a": np.nan}],
    "cv": ["x", 1, 0.5, True],
    "eps": [0, "x", None],
    "intercept_scaling": [-1, 0, "x"],
    "l1_ratio": [1.5, "x", None],
    "LogisticRegression.l1_ratio": [-0.5, "x"],
    "l1_ratios": [[2], [], 0.5, "x"],
    "link": ["logit", None],
    "max_iter": [0, 1.5, "x"],
    "n_jobs": [0, 1.5, "x"],
    "penalty": ["none", 1],
    "power": [0.5, "x", np.nan],
    "precompute": ["x", 1, None],
    "random_state": ["x", -1, 1.5],
    "scoring": ["roc_auc", 1],
    "selection": ["all", None],
    "solver": ["qr", None, 1],
    "theta": [0, -1, "x", np.inf],
    "tol": [-1, "x", None],
    "use_legacy_attributes": [1, "x"],
    "verbose": [-1, "yes", None],
}
FLAGS = ["no", 1, None]
PAIRS = [
    (name, parameter)
    for name in glm.__all__
    for parameter in sorted(parameters_of(getattr(glm, name)))
    if parameter != "executor"
]


@pytest.mark.parametrize(("name", "parameter"), PAIRS)
def test_every_parameter_of_every_estimator_is_checked(name: str, parameter: str) -> None:
    kind = getattr(glm, name)
    is_flag = type(inspect.signature(kind).parameters[parameter].default) is bool and parameter not in BAD
    for value in BAD.get(f"{name}.{parameter}", FLAGS if is_flag else BAD.get(parameter, ())):
        model = kind(**{parameter: value})
        with pytest.raises(ValueError, match=rf"^{name}\({parameter}=.*\): {parameter} must be "):
            model.fit(X, target_of(name))
        if hasattr(kind, "_offset"):
            with pytest.raises(ValueError, match=rf"^{name}\({parameter}=.*\): {parameter} must be "):
                model.fit(X, target_of(name), exposure=1.0)
    assert is_flag or parameter in BAD, f"{parameter} of {name} is not tested"


@pytest.mark.parametrize(("name", "parameter"), PAIRS)
def test_every_parameter_takes_its_default(name: str, parameter: str) -> None:
    default = inspect.signature(getattr(glm, name)).parameters[parameter].default
    check_values(getattr(glm, name)(**{parameter: default}))
    theirs = inspect.signature(getattr(linear_model, name, getattr(glm, name))).parameters
    if parameter in theirs and theirs[parameter].default != "warn" and parameter != "solver":
        check_values(getattr(glm, name)(**{parameter: theirs[parameter].default}))


@pytest.mark.parametrize("solver", ["gradient_descent", "lbfgs", "sag"])
def test_positive_needs_a_solver_that_can_do_it(solver: str) -> None:
    text = rf"^LinearRegression\(solver='{solver}'\): .*positive=True take one of newton, proximal_grad"
    with pytest.raises(ValueError, match=text):
        glm.LinearRegression(positive=True, solver=solver).fit(X, COUNTS)


# ---------------------------------------------------------------- what parameters do


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("solver", ["auto", "proximal_grad", "admm"])
@pytest.mark.parametrize("name", LEAST_SQUARES)
def test_positive_is_the_optimum_of_scikit_learn(name: str, solver: str, fit_intercept: bool) -> None:
    options: dict[str, Any] = {"positive": True, "fit_intercept": fit_intercept}
    if name != "LinearRegression":
        options["alpha"] = 0.01
    model = getattr(glm, name)(solver=solver, **options).fit(X, Y[:, 0], WEIGHTS)
    expected = theirs(name, **options).fit(X, Y[:, 0], WEIGHTS)
    assert np.any(expected.coef_ == 0)
    assert np.any(expected.coef_ > 0)
    np.testing.assert_allclose(model.coef_, expected.coef_, atol=2e-5)
    np.testing.assert_allclose(model.intercept_, expected.intercept_, atol=2e-5)
    assert np.all(model.coef_ >= 0)


def test_a_warm_start_from_negative_coefficients_gives_positive_ones() -> None:
    model = glm.LinearRegression(warm_start=True).fit(X, Y[:, 0])
    assert np.any(model.coef_ < 0)
    model.set_params(positive=True, solver="proximal_grad").fit(X, Y[:, 0])
    np.testing.assert_allclose(model.coef_, theirs("LinearRegression", positive=True).fit(X, Y[:, 0]).coef_, atol=1e-5)


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("solver", ["auto", "svd", "cholesky", "lsqr", "sparse_cg", "sag", "saga", "lbfgs"])
def test_ridge_takes_scikit_learns_solvers(solver: str, positive: bool) -> None:
    if positive and solver == "sag":
        pytest.skip("a gradient method needs a smooth penalty")
    model = glm.Ridge(2.0, solver=solver, positive=positive, max_iter=None, random_state=0).fit(X, Y[:, 0])
    np.testing.assert_allclose(
        model.coef_, theirs("Ridge", alpha=2.0, positive=positive).fit(X, Y[:, 0]).coef_, atol=2e-5
    )


@pytest.mark.parametrize(("given", "expected"), [(None, 4), (1, 1), (2, 2), (-1, 4)])
def test_n_jobs_is_the_most_threads(given: int | None, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Seen(sums.LocalSums):
        def __enter__(self) -> sums.LocalSums:
            seen.append(self.threads)
            return super().__enter__()

    monkeypatch.setattr(sums, "usable_cores", lambda: 4)
    monkeypatch.setattr(estimators, "LocalSums", Seen)
    monkeypatch.setattr(estimators, "effective_n_jobs", lambda n_jobs: 4 if n_jobs < 0 else n_jobs)
    many = np.arange(500_000.0).reshape(-1, 2) % 7
    glm.LinearRegression(n_jobs=given).fit(many, many.sum(axis=1))
    assert seen == [expected]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("LinearRegression", {"copy_X": False}),
        ("Ridge", {"copy_X": False, "random_state": 3}),
        ("Lasso", {"precompute": True, "copy_X": False, "random_state": 3, "selection": "random"}),
        ("ElasticNet", {"precompute": X.T @ X, "copy_X": False, "random_state": 3, "selection": "random"}),
        ("LogisticRegression", {"dual": True, "intercept_scaling": 9.0, "random_state": 3, "penalty": "deprecated"}),
    ],
)
def test_parameters_without_effect(name: str, parameters: dict[str, Any]) -> None:
    before = X.copy()
    model = getattr(glm, name)(**parameters).fit(X, target_of(name))
    np.testing.assert_array_equal(model.coef_, getattr(glm, name)().fit(X, target_of(name)).coef_)
    np.testing.assert_array_equal(X, before)


def test_sparse_coefficients() -> None:
    lasso = glm.Lasso(0.5).fit(X, COUNTS)
    np.testing.assert_array_equal(lasso.sparse_coef_.toarray().ravel(), lasso.coef_)
    with pytest.raises(NotFittedError):
        glm.Lasso().sparse_coef_  # noqa: B018
    alphas, coefs, _ = glm.Lasso.path(X, COUNTS, alphas=[0.5])
    assert list(alphas) == [0.5]
    assert coefs.shape == (5, 1)
    assert glm.Lasso(0.5).fit(X, COUNTS, check_input=False).coef_.tolist() == lasso.coef_.tolist()


@pytest.mark.parametrize("classes", [2, 3])
def test_sparsify_and_densify(classes: int) -> None:
    y = np.digitize(Y[:, 0], [1.0, 3.0][: classes - 1])
    model = glm.LogisticRegression(C=0.05, l1_ratio=1.0, warm_start=True).fit(X, y)
    coef, probabilities = model.coef_, model.predict_proba(X)
    assert model.sparsify() is model
    assert scipy.sparse.issparse(model.coef_)
    np.testing.assert_allclose(model.predict_proba(X), probabilities)
    np.testing.assert_allclose(model.predict_proba(scipy.sparse.csr_matrix(X)), probabilities)
    np.testing.assert_array_equal(model.densify().coef_, coef)
    assert model.sparsify().fit(X, y).n_iter_ == [1]


# ---------------------------------------------------------------- several targets


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize("name", LEAST_SQUARES)
def test_several_targets_are_those_of_scikit_learn(name: str, targets: int, fit_intercept: bool) -> None:
    options: dict[str, Any] = {"fit_intercept": fit_intercept}
    if name != "LinearRegression":
        options["alpha"] = 0.1
    model = getattr(glm, name)(**options).fit(X, Y[:, :targets], WEIGHTS)
    expected = theirs(name, **options).fit(X, Y[:, :targets], WEIGHTS)
    for attribute in ("coef_", "intercept_"):
        mine, other = getattr(model, attribute), getattr(expected, attribute)
        if IS_NEW:
            assert np.shape(mine) == np.shape(other)
        np.testing.assert_allclose(np.ravel(mine), np.ravel(other), atol=1e-8)
    assert model.score(X, Y[:, :targets]) == pytest.approx(expected.score(X, Y[:, :targets]))
    if targets == 3:
        assert model.predict(X).shape == (120, 3)
        assert len(model.history_) == len(model.objective_) == len(model.n_iter_) == 3


def test_ridge_takes_a_strength_for_each_target() -> None:
    strengths = np.array([0.1, 10.0, 1000.0])
    model = glm.Ridge(strengths, warm_start=True).fit(X, Y)
    np.testing.assert_allclose(model.coef_, linear_model.Ridge(strengths).fit(X, Y).coef_, atol=1e-8)
    again = model.fit(X, Y)
    assert [len(history["objective"]) for history in again.history_] == [1, 1, 1]  # started where it had ended
    with pytest.raises(ValueError, match=r"Ridge\(alpha=.*one for each of the 2 target"):
        model.fit(X, Y[:, :2])


def test_several_targets_are_refused_where_scikit_learn_refuses_them() -> None:
    for name in set(NAMES) - set(LEAST_SQUARES):
        with pytest.raises(ValueError, match="1d array"):
            getattr(glm, name)().fit(X, Y)
    with pytest.raises(TypeError, match=r"Ridge: y must be a dense array.*toarray"):
        glm.Ridge().fit(X, scipy.sparse.csr_matrix(Y))
