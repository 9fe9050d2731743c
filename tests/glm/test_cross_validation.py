"""Cross-validated estimators: scikit-learn's grids, paths, choices and attributes, on blocks that are placed once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
import scipy.sparse
from sklearn import linear_model
from sklearn.base import clone
from sklearn.metrics import log_loss
from sklearn.model_selection import KFold, ShuffleSplit, StratifiedKFold, TimeSeriesSplit

from futures_cluster import Executor, glm
from futures_cluster.glm import folds, passes, paths
from futures_cluster.glm.families import Normal
from futures_cluster.glm.gram import QuadraticSums
from futures_cluster.glm.rowblocks import RowBlock, split_rows
from futures_cluster.glm.sums import LocalSums

RNG = np.random.default_rng(0)
SHIFT = np.array([0.0, 0.0, 1e6, 0.0, 0.0])
X = RNG.standard_normal((200, 5)) * [1, 2, 0.5, 1, 1]
ETA = X @ [1.0, 0.5, 0.0, 0.0, -1.0]
Y = ETA + RNG.standard_normal(200) + 3
TWO = np.where(ETA + RNG.logistic(size=200) > 0, "yes", "no")
THREE = np.array(["a", "b", "c"])[np.argmax(np.outer(ETA, [0, 1, -1]) + RNG.gumbel(size=(200, 3)), axis=1)]
WEIGHTS = RNG.random(200) + 0.2
ALPHAS = np.logspace(-2, 3, 6)


@pytest.fixture(scope="module")
def ex() -> Iterator[Executor]:
    with Executor(2) as executor:
        executor.run(int)
        yield executor


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "PIECE_ROWS", 33)


def same_choice(ours: Any, theirs: Any) -> None:
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=2e-5)
    for name in ("alpha_", "l1_ratio_", "best_score_", "alphas_", "mse_path_"):
        if hasattr(theirs, name):
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-6, err_msg=name)


SPLITTERS = [None, 4, KFold(3, shuffle=True, random_state=0), ShuffleSplit(3, random_state=0), TimeSeriesSplit(3)]


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("cv", SPLITTERS, ids=repr)
def test_least_squares_choose_as_scikit_learn(cv: Any, weights: Any) -> None:
    same_choice(
        glm.RidgeCV(ALPHAS, cv=cv).fit(X, Y, weights),
        linear_model.RidgeCV(ALPHAS, cv=cv).fit(X, Y, weights),
    )
    same_choice(
        glm.LassoCV(alphas=12, cv=cv).fit(X, Y, weights),
        linear_model.LassoCV(alphas=12, cv=cv, tol=1e-10, max_iter=100_000).fit(X, Y, weights),
    )


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(
    "options", [{"l1_ratio": 0.7}, {"l1_ratio": [0.2, 0.9]}, {"l1_ratio": [0.5, 1], "alphas": ALPHAS}]
)
def test_elastic_nets_choose_as_scikit_learn(options: dict[str, Any], intercept: bool) -> None:
    options = {"alphas": 8, "fit_intercept": intercept} | options
    theirs = linear_model.ElasticNetCV(**options, tol=1e-10, max_iter=100_000).fit(X, Y)
    same_choice(glm.ElasticNetCV(**options).fit(X, Y), theirs)
    ridge = linear_model.RidgeCV(ALPHAS, fit_intercept=intercept).fit(X, Y)
    same_choice(glm.RidgeCV(ALPHAS, fit_intercept=intercept).fit(X, Y), ridge)


@pytest.mark.parametrize("form", [scipy.sparse.csr_matrix, lambda x: x.astype(np.float32), lambda x: x + SHIFT])
def test_every_form_of_rows(form: Any) -> None:
    same_choice(glm.RidgeCV(ALPHAS).fit(form(X), Y), linear_model.RidgeCV(ALPHAS).fit(X.astype(form(X).dtype), Y))
    theirs = linear_model.LassoCV(alphas=9, tol=1e-10).fit(X.astype(form(X).dtype).astype(float), Y)
    ours = glm.LassoCV(alphas=9).fit(form(X), Y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=2e-5)
    np.testing.assert_allclose(ours.mse_path_, theirs.mse_path_, rtol=1e-4)


def test_wide_rows_follow_the_path_with_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a Gram matrix."""
    from futures_cluster.glm import objective

    monkeypatch.setattr(objective, "DENSE_HESSIAN", 3)
    ours = glm.LassoCV(alphas=5, tol=1e-9).fit(X, Y)
    theirs = linear_model.LassoCV(alphas=5, tol=1e-10).fit(X, Y)
    np.testing.assert_allclose(ours.mse_path_, theirs.mse_path_, rtol=1e-3)
    assert glm.RidgeCV(ALPHAS, cv=3).fit(X, Y).alpha_ == linear_model.RidgeCV(ALPHAS, cv=3).fit(X, Y).alpha_
    with pytest.raises(ValueError, match="RidgeCV without cv needs the Gram matrix of 5 columns"):
        glm.RidgeCV(ALPHAS).fit(X, Y)


LOGISTIC: list[dict[str, Any]] = [
    {},
    {"scoring": "neg_log_loss", "class_weight": "balanced", "use_legacy_attributes": False},
    {"refit": False, "cv": 3},
    {"fit_intercept": False, "Cs": [10.0, 0.1]},
]


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("options", LOGISTIC, ids=str)
@pytest.mark.parametrize("y", [TWO, THREE], ids=["two", "three"])
def test_logistic_regression_chooses_as_scikit_learn(y: Any, options: dict[str, Any], weights: Any) -> None:
    options = {"Cs": 5, "use_legacy_attributes": True} | options
    theirs = linear_model.LogisticRegressionCV(**options, solver="newton-cg", tol=1e-10, max_iter=10_000)
    same_paths(glm.LogisticRegressionCV(**options).fit(X, y, weights), theirs.fit(X, y, weights))


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("legacy", [True, False])
def test_logistic_ratios(legacy: bool) -> None:
    options = {
        "Cs": [0.1, 1.0],
        "l1_ratios": (0.0, 0.5, 1.0),
        "use_legacy_attributes": legacy,
        "scoring": "neg_log_loss",
    }
    theirs = linear_model.LogisticRegressionCV(**options, solver="saga", tol=1e-8, max_iter=50_000).fit(X, TWO)
    same_paths(glm.LogisticRegressionCV(**options).fit(X, TWO), theirs)


def same_paths(ours: Any, theirs: Any) -> None:
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-4)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-4)
    assert np.shape(ours.C_) == np.shape(theirs.C_)
    np.testing.assert_allclose(ours.C_, theirs.C_)
    np.testing.assert_array_equal(ours.Cs_, theirs.Cs_)
    assert np.shape(ours.n_iter_) == np.shape(theirs.n_iter_)
    if isinstance(theirs.scores_, dict):
        assert list(ours.scores_) == list(theirs.scores_)
    for name, atol in (("scores_", 1e-5), ("coefs_paths_", 1e-3)):
        mine, other = getattr(ours, name), getattr(theirs, name)
        for key in other if isinstance(other, dict) else [...]:
            np.testing.assert_allclose(mine[key], other[key], atol=atol)


@pytest.mark.parametrize(
    ("model", "y"),
    [
        (glm.RidgeCV(ALPHAS), Y),
        (glm.RidgeCV(ALPHAS, cv=KFold(3)), Y),
        (glm.LassoCV(alphas=7), Y),
        (glm.ElasticNetCV(alphas=7, l1_ratio=[0.3, 0.6], cv=3), Y),
        (glm.LogisticRegressionCV(Cs=3), TWO),
        (glm.LogisticRegressionCV(Cs=3, class_weight="balanced", scoring="neg_log_loss"), THREE),
    ],
    ids=["ridge", "ridge by folds", "lasso", "elastic net", "two classes", "three classes"],
)
def test_on_workers_the_same(ex: Executor, model: Any, y: Any) -> None:
    """Folds are cut over all blocks as over one array; an empty block is no trouble."""
    here = clone(model).fit(X, y, WEIGHTS)
    cuts = [slice(0, 90), slice(90, 90), slice(90, 200)]
    triples = [ex.submit(lambda *each: each, X[cut], y[cut], WEIGHTS[cut]) for cut in cuts]
    for there in (
        clone(model).set_params(executor=ex).fit(triples),
        clone(model).set_params(executor=ex).fit(X, y, WEIGHTS),
    ):
        np.testing.assert_allclose(there.coef_, here.coef_, atol=1e-5)
        for name in ("alpha_", "C_", "best_score_", "mse_path_"):
            if hasattr(here, name):
                np.testing.assert_allclose(getattr(there, name), getattr(here, name), rtol=1e-6)


def test_blocks_are_placed_once_and_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums of all folds see the very rows that were placed."""
    placed = []
    plain = passes.block_sums

    def block_sums(block: RowBlock, *args: Any, **options: Any) -> Any:
        placed.append(block.x.__array_interface__["data"][0])
        return plain(block, *args, **options)

    monkeypatch.setattr("futures_cluster.glm.sums.block_sums", block_sums)
    with Executor(2, backend="threads") as ex:
        scattered: list[Any] = []
        scatter = ex.scatter

        def watch(values: Any, **options: Any) -> Any:
            scattered.extend(each for each in values if isinstance(each, RowBlock))
            return scatter(values, **options)

        monkeypatch.setattr(ex, "scatter", watch)
        glm.LogisticRegressionCV(Cs=3, cv=4, executor=ex).fit(X, TWO)
    assert sum(block.n_rows for block in scattered) == 200
    assert set(placed) == {block.x.__array_interface__["data"][0] for block in scattered}


def test_masks_of_folds() -> None:
    """Training sums are those of the training rows alone, for splits that overlap and leave rows out."""
    blocks = split_rows(X, Y, WEIGHTS, 3)
    splits = list(ShuffleSplit(3, test_size=0.3, train_size=0.5, random_state=1).split(X))
    theta = np.arange(6.0)
    with LocalSums(blocks) as whole:
        cut = folds.Folds(whole, splits, [block.n_rows for block in blocks])
        assert cut.number == 3
        for fold, (train, test) in enumerate(splits):
            with LocalSums([RowBlock(X[train], Y[train], WEIGHTS[train])]) as alone:
                expected = alone.sums(Normal(), True, theta, 2)
            found = cut.train(fold)
            np.testing.assert_allclose(found.sums(Normal(), True, theta, 2), expected)
            quadratic = QuadraticSums(found, Normal(), True, np.zeros(6))
            for order in (0, 1, 2):
                expected = found.sums(Normal(), True, theta, order)
                np.testing.assert_allclose(quadratic.sums(Normal(), True, theta, order), expected)
            rows = cut.test(fold, lambda block, keep: keep @ (block.weights * block.y))
            assert rows == pytest.approx(WEIGHTS[test] @ Y[test])


def test_an_offset_is_known_to_every_fold() -> None:
    """In training and in scores."""
    offset = 2.0 * RNG.standard_normal(200)
    late = offset + ETA + RNG.logistic(size=200) > 0
    model = glm.LogisticRegressionCV(Cs=[0.1, 10.0], cv=3, scoring="neg_log_loss").fit(X, late, offset=offset)
    for fold, (train, test) in enumerate(StratifiedKFold(3).split(X, late)):
        for number, c in enumerate(model.Cs_):
            alone = glm.LogisticRegression(C=c).fit(X[train], late[train], offset=offset[train])
            loss = log_loss(late[test], alone.predict_proba(X[test], offset=offset[test]))
            assert model.scores_[True][fold, number] == pytest.approx(-loss, abs=1e-6)
    best = glm.LogisticRegression(C=model.C_[0]).fit(X, late, offset=offset)
    np.testing.assert_allclose(model.coef_, best.coef_, atol=1e-5)
    expected = -log_loss(late, best.predict_proba(X, offset=offset))
    assert model.score(X, late, offset=offset) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("model", "y", "message"),
    [
        (glm.RidgeCV([0.0]), Y, "alphas must be positive numbers without cv"),
        (glm.RidgeCV([-1.0], cv=3), Y, "alphas must be numbers >= 0"),
        (glm.ElasticNetCV(l1_ratio=0), Y, "give alphas"),
        (glm.LassoCV(solver="admm"), Y, "LassoCV has no solver='admm'"),
        (glm.LassoCV(solver="lbfgs"), Y, r"^LassoCV\(solver='lbfgs'\): .* smooth penalty.* newton, proximal_grad$"),
        (glm.LassoCV(cv=201), Y, "Cannot have number of splits"),
        (glm.LogisticRegressionCV(scoring="roc_auc"), TWO, "GridSearchCV with LogisticRegression takes others"),
    ],
)
def test_what_makes_no_sense(model: Any, y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model.fit(X, y)


@pytest.mark.parametrize("rows", ["training", "test"])
@pytest.mark.parametrize(
    ("model", "y"),
    [
        (glm.RidgeCV(cv=KFold(2)), Y),
        (glm.LassoCV(alphas=2, cv=KFold(2)), Y),
        (glm.LogisticRegressionCV(cv=KFold(2)), TWO),
    ],
    ids=["ridge", "lasso", "logistic"],
)
def test_folds_without_weight(model: Any, y: Any, rows: str) -> None:
    first = np.arange(200) < 100
    with pytest.raises(ValueError, match=f"the {rows} rows of fold 0 have no weight in {type(model).__name__}"):
        model.fit(X, y, np.where(first if rows == "training" else ~first, 1.0, 0.0))


def test_folds_without_an_r_squared() -> None:
    with pytest.raises(ValueError, match="the test rows of fold 0 have all the same target in RidgeCV"):
        glm.RidgeCV(cv=2).fit(X, np.where(np.arange(200) < 100, 1.1, Y))


@pytest.mark.parametrize(
    ("name", "parameter"),
    [
        ("RidgeCV", "gcv_mode"),
        ("LassoCV", "precompute"),
        ("ElasticNetCV", "positive"),
        ("LogisticRegressionCV", "dual"),
    ],
)
def test_parameters_that_are_not_offered(name: str, parameter: str) -> None:
    with pytest.raises(TypeError, match=f"{name}.*{parameter}"):
        getattr(glm, name)(**{parameter: True})
