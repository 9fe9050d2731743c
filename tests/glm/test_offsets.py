"""Offsets and exposures: the same as equivalent weighted fits of scikit-learn, from every source, with clear errors."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
import pandas
import scipy.sparse
from sklearn import linear_model
from sklearn.exceptions import ConvergenceWarning

from futures_cluster import Executor, glm

RNG = np.random.default_rng(0)
X = RNG.standard_normal((300, 3))
EXPOSURE = RNG.lognormal(0.0, 1.5, 300)
RATE = np.exp(X @ [0.4, -0.2, 0.0] - 0.5)
COUNTS = RNG.poisson(RATE * EXPOSURE).astype(float)
COSTS = RNG.gamma(2.0, RATE * EXPOSURE / 2)
LATE = RNG.random(300) < 1 / (1 + 1 / (RATE * EXPOSURE))
WEIGHTS = RNG.random(300) + 0.5
FRAME = pandas.DataFrame(X, columns=["a", "b", "c"]).assign(
    y=COUNTS, w=WEIGHTS, hours=EXPOSURE, o=np.log(EXPOSURE), late=LATE
)
POISSON = glm.PoissonRegressor(alpha=0.1).fit(X, COUNTS, WEIGHTS, exposure=EXPOSURE)
LOGISTIC = glm.LogisticRegression().fit(X, LATE, WEIGHTS, offset=np.log(EXPOSURE))


@pytest.fixture(scope="module")
def ex() -> Iterator[Executor]:
    with Executor(2) as executor:
        executor.run(int)
        yield executor


def close(model: Any, expected: Any) -> None:
    np.testing.assert_allclose(model.coef_, expected.coef_, atol=2e-5)
    np.testing.assert_allclose(model.intercept_, expected.intercept_, atol=2e-5)


@pytest.mark.parametrize(
    ("ours", "theirs", "power", "y"),
    [
        (glm.PoissonRegressor, linear_model.PoissonRegressor, 1.0, COUNTS),
        (glm.GammaRegressor, linear_model.GammaRegressor, 2.0, COSTS),
        (glm.TweedieRegressor, linear_model.TweedieRegressor, 1.5, COSTS),
    ],
)
@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_matrix, lambda x: x.astype(np.float32)])
def test_an_exposure_is_a_rate_with_weights(ours: Any, theirs: Any, power: float, y: Any, form: Any) -> None:
    """The deviance of ``y`` at ``exposure * rate`` is that of ``y / exposure`` at the rate, but for a factor."""
    weights = WEIGHTS * EXPOSURE ** (2 - power)
    options: dict[str, Any] = {"power": power} if power == 1.5 else {}
    own = 0.1 * weights.sum() / WEIGHTS.sum()
    model = ours(alpha=own, **options).fit(form(X), y, WEIGHTS, exposure=EXPOSURE)
    expected = theirs(alpha=0.1, tol=1e-10, max_iter=10_000, **options).fit(X, y / EXPOSURE, weights)
    close(model, expected)
    close(ours(alpha=own, **options).fit(form(X), y, WEIGHTS, offset=np.log(EXPOSURE)), expected)
    rates = expected.predict(X)
    np.testing.assert_allclose(model.predict(form(X)), rates, rtol=1e-4)
    np.testing.assert_allclose(model.predict(form(X), exposure=EXPOSURE), EXPOSURE * rates, rtol=1e-4)
    deviance = __import__("sklearn.metrics").metrics.mean_tweedie_deviance
    left = deviance(y, EXPOSURE * rates, sample_weight=WEIGHTS, power=power)
    null = deviance(y, np.full(300, np.average(y, weights=WEIGHTS)), sample_weight=WEIGHTS, power=power)
    assert model.score(X, y, WEIGHTS, exposure=EXPOSURE) == pytest.approx(1 - left / null, abs=1e-4)


@pytest.mark.parametrize("solver", ["newton", "lbfgs", "proximal_grad", "admm"])
def test_a_logistic_offset_is_a_column_with_the_coefficient_one(solver: str) -> None:
    """At the optimum the gradient is zero, with the offset in the odds."""
    offset = np.log(EXPOSURE)
    model = glm.LogisticRegression(C=np.inf, solver=solver, tol=1e-13).fit(X, LATE, offset=offset)
    probability = model.predict_proba(X, offset=offset)[:, 1]
    np.testing.assert_allclose(X.T @ (probability - LATE), 0, atol=1e-3)
    assert (probability - LATE).sum() == pytest.approx(0, abs=1e-3)
    odds = model.decision_function(X, offset=offset)
    np.testing.assert_allclose(odds - model.decision_function(X), offset, atol=1e-12)
    np.testing.assert_array_equal(model.predict(X, offset=offset), odds > 0)
    np.testing.assert_allclose(model.predict_log_proba(X, offset=offset)[:, 1], np.log(probability))
    assert model.score(X, LATE, offset=offset) == np.mean((odds > 0) == LATE)


def test_one_number_is_for_all_rows() -> None:
    one = glm.PoissonRegressor().fit(X, COUNTS, exposure=10.0)
    none = glm.PoissonRegressor().fit(X, COUNTS)
    np.testing.assert_allclose(one.coef_, none.coef_, atol=1e-6)
    assert one.intercept_ == pytest.approx(none.intercept_ - np.log(10.0), abs=1e-6)
    np.testing.assert_allclose(one.predict(X, exposure=10.0), none.predict(X), rtol=1e-5)


@pytest.mark.parametrize("shift", [-600.0, -30.0, 30.0, 600.0])
def test_far_offsets_start_near(shift: float) -> None:
    """Exposures in other units change the intercept, not the work."""
    near = glm.PoissonRegressor().fit(X, COUNTS, exposure=EXPOSURE)
    far = glm.PoissonRegressor().fit(X, COUNTS, offset=np.log(EXPOSURE) + shift)
    np.testing.assert_allclose(far.coef_, near.coef_, atol=1e-6)
    assert far.n_iter_ <= near.n_iter_ + 1


def test_the_identity_link_takes_offsets() -> None:
    x, offset = np.abs(X), 5 * RNG.random(300)
    y = RNG.poisson(x @ [1.0, 2.0, 0.5] + 1 + offset).astype(float)
    model = glm.TweedieRegressor(power=1, link="identity", alpha=0).fit(x, y, offset=offset)
    mean = model.predict(x, offset=offset)
    np.testing.assert_allclose(x.T @ (y / mean - 1), 0, atol=1e-3)
    normal = glm.TweedieRegressor(power=0, alpha=0).fit(X, COSTS, offset=offset)
    close(normal, linear_model.LinearRegression().fit(X, COSTS - offset))


def parts(*arrays: Any) -> list[list[Any]]:
    """Blocks of each array; the second is empty."""
    return [[each[:120], each[:0], each[120:]] for each in arrays]


@pytest.mark.parametrize("on_workers", [False, True])
def test_names_of_columns_of_a_frame_in_this_process(ex: Executor, on_workers: bool) -> None:
    executor = ex if on_workers else None
    frame = FRAME.drop(columns=["o", "late"])
    rows, y, weights, hours = frame[["a", "b", "c"]], frame["y"], frame["w"], frame["hours"]
    plain = glm.PoissonRegressor(alpha=0.1).fit(rows, y, weights, exposure=hours)
    model = glm.PoissonRegressor(alpha=0.1, executor=executor).fit(frame, "y", "w", exposure="hours")
    close(model, plain)
    assert list(model.feature_names_in_) == ["a", "b", "c"]
    found = model.predict(frame[["a", "b", "c", "hours"]], exposure="hours")
    np.testing.assert_allclose(found, plain.predict(rows, exposure=hours), rtol=1e-5)
    score = plain.score(rows, y, weights, exposure=hours)
    assert model.score(frame, "y", "w", exposure="hours") == pytest.approx(score)
    chosen = glm.PoissonRegressor(alpha=0.1).fit(frame, y, columns=["b", "a"], exposure="hours")
    assert chosen.columns_ == ["b", "a"]
    np.testing.assert_allclose(
        chosen.predict(frame, exposure="hours"), chosen.predict(rows[["b", "a"]], exposure=hours)
    )
    late = glm.LogisticRegression().fit(FRAME, "late", columns=["a"], offset="o")
    assert late.score(FRAME, "late", offset="o") == late.score(FRAME[["a"]], FRAME["late"], offset=FRAME["o"])
    with pytest.raises(ValueError, match="there is no column 'days'; there are"):
        model.fit(frame, "y", exposure="days")
    with pytest.raises(ValueError, match="y='y' names a column, and X is ndarray, which has none"):
        model.fit(frame.to_numpy(), "y")


@pytest.mark.parametrize("on_workers", [False, True])
def test_lists_of_futures(ex: Executor, on_workers: bool) -> None:
    executor = ex if on_workers else None
    xs, ys, ws, es = (ex.scatter(each) for each in parts(X, COUNTS, WEIGHTS, EXPOSURE))
    model = glm.PoissonRegressor(alpha=0.1, executor=executor).fit(xs, ys, ws, exposure=es)
    close(model, POISSON)
    filled = [xs[0], xs[2]], [es[0], es[2]]
    means = [each.result() if on_workers else each for each in model.predict(filled[0], exposure=filled[1])]
    np.testing.assert_allclose(np.concatenate(means), POISSON.predict(X, exposure=EXPOSURE), rtol=1e-5)
    triples = [ex.submit(lambda *each: each, *each) for each in zip(xs, ys, ws)]
    close(glm.PoissonRegressor(alpha=0.1, executor=executor).fit(triples, exposure=es), POISSON)
    tables = ex.scatter([FRAME[:120], FRAME[120:]])
    tables = [ex.submit(pandas.DataFrame.drop, table, columns=["o", "late"]) for table in tables]
    model = glm.PoissonRegressor(alpha=0.1, executor=executor).fit(tables, "y", "w", exposure="hours")
    close(model, POISSON)
    assert list(model.feature_names_in_) == ["a", "b", "c"]
    means = [each.result() if on_workers else each for each in model.predict(tables, exposure="hours")]
    np.testing.assert_allclose(np.concatenate(means), POISSON.predict(X, exposure=EXPOSURE), rtol=1e-5)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("on_workers", [False, True])
def test_files(ex: Executor, tmp_path: Path, kind: str, on_workers: bool) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    frame = FRAME.drop(columns=["y", "hours"])
    for number, part in enumerate([frame[:120], frame[120:]]):
        if kind == "csv":
            part.to_csv(tmp_path / f"{number}.csv", index=False)
        else:
            part.to_parquet(tmp_path / f"{number}.parquet", index=False, row_group_size=50)
    model = glm.LogisticRegression(executor=ex if on_workers else None).fit(tmp_path, "late", "w", offset="o")
    close(model, LOGISTIC)
    expected = LOGISTIC.predict_proba(X, offset=np.log(EXPOSURE))
    np.testing.assert_allclose(model.predict_proba(tmp_path, offset="o"), expected, atol=1e-5)
    model.fit(tmp_path, "late", offset="o")
    close(model, glm.LogisticRegression().fit(np.column_stack([X, WEIGHTS]), LATE, offset=np.log(EXPOSURE)))


@pytest.mark.parametrize("on_workers", [False, True])
def test_dask(ex: Executor, on_workers: bool) -> None:
    dask = pytest.importorskip("dask")
    da, dd = pytest.importorskip("dask.array"), pytest.importorskip("dask.dataframe")
    executor = ex if on_workers else None
    with dask.config.set(scheduler="sync"):
        x, y, e = (da.from_array(each, chunks=100) for each in (X, COUNTS, EXPOSURE))
        plain = glm.PoissonRegressor(alpha=0.1).fit(X, COUNTS, exposure=EXPOSURE)
        means = plain.predict(X, exposure=EXPOSURE)
        model = glm.PoissonRegressor(alpha=0.1, executor=executor).fit(x, y, exposure=e.rechunk(150))
        close(model, plain)
        lazy = model.predict(x, exposure=e.rechunk(70))
        assert type(lazy) is type(x)
        np.testing.assert_allclose(lazy.compute(), means, rtol=1e-5)
        frame = dd.from_pandas(FRAME.drop(columns=["o", "late", "w"]), npartitions=3)
        model = glm.PoissonRegressor(alpha=0.1, executor=executor).fit(frame, "y", exposure="hours")
        close(model, plain)
        np.testing.assert_allclose(model.predict(frame, exposure="hours").compute(), means, rtol=1e-5)
        rows = frame[["a", "b", "c"]]
        model = glm.PoissonRegressor(alpha=0.1, executor=executor).fit(rows, frame["y"], exposure=frame["hours"])
        close(model, plain)
        np.testing.assert_allclose(model.predict(rows, exposure=frame["hours"]).compute(), means, rtol=1e-5)


BAD = np.where(np.arange(300) == 7, np.nan, EXPOSURE)


@pytest.mark.parametrize(
    ("model", "given", "message"),
    [
        (glm.PoissonRegressor(), {"offset": BAD}, "offset contains NaN"),
        (glm.LogisticRegression(), {"offset": BAD}, "offset contains NaN"),
        (glm.GammaRegressor(), {"exposure": BAD}, "exposure contains NaN"),
        (glm.PoissonRegressor(), {"offset": np.full(300, np.inf)}, "offset contains infinity"),
        (glm.PoissonRegressor(), {"exposure": EXPOSURE - EXPOSURE.min()}, "exposure must be positive, got 0"),
        (glm.PoissonRegressor(), {"exposure": -EXPOSURE}, "exposure must be positive, got -"),
        (glm.PoissonRegressor(), {"exposure": EXPOSURE[:5]}, r"exposure must have one number .* shape \(5,\)"),
        (glm.PoissonRegressor(), {"offset": ["long"] * 300}, "offset must be numbers"),
        (glm.PoissonRegressor(), {"exposure": "hours"}, "exposure='hours' names a column"),
        (glm.PoissonRegressor(), {"offset": EXPOSURE, "exposure": EXPOSURE}, "PoissonRegressor takes offset or exp"),
        (glm.TweedieRegressor(), {"exposure": EXPOSURE}, "this TweedieRegressor has the identity link"),
    ],
)
def test_offsets_that_make_no_sense(ex: Executor, model: Any, given: Any, message: str) -> None:
    y = LATE if isinstance(model, glm.LogisticRegression) else COSTS
    with pytest.raises(ValueError, match=message):
        model.fit(X, y, **given)
    plain = type(model)().fit(X, y)
    with pytest.raises(ValueError, match=message):
        plain.predict(X, **given)
    if not isinstance(next(iter(given.values())), str):
        pairs, blocks = ex.scatter([(X, y)]), {name: ex.scatter([value]) for name, value in given.items()}
        with pytest.raises(ValueError, match=message):
            model.set_params(executor=ex).fit(pairs, **blocks)


def test_what_takes_no_offset_says_so() -> None:
    with pytest.raises(ValueError, match="offset needs two classes, and y has 3"):
        glm.LogisticRegression().fit(X, np.arange(300) % 3, offset=EXPOSURE)
    with pytest.raises(TypeError, match=r"LogisticRegression.fit\(\) got .* 'exposure'"):
        glm.LogisticRegression().fit(X, LATE, exposure=EXPOSURE)


def test_collections_with_parts_that_do_not_fit(ex: Executor, tmp_path: Path) -> None:
    tables = ex.scatter([FRAME])
    model = glm.PoissonRegressor(executor=ex)
    with pytest.raises(ValueError, match="no column 'days'"):
        model.fit(tables, "y", exposure="days")
    with pytest.raises(TypeError, match="offset or exposure must be one too, not list"):
        model.fit(tables, "y", exposure=tables)
    with pytest.raises(ValueError, match="X has 1 blocks, and offset or exposure has 2"):
        model.fit(ex.scatter([(X, COUNTS)]), exposure=ex.scatter([EXPOSURE, EXPOSURE]))
    with pytest.raises(TypeError, match="names of columns"):
        model.fit(tmp_path, "y", exposure=EXPOSURE)


@pytest.mark.parametrize("model", [glm.PoissonRegressor(alpha=0), glm.NegativeBinomialRegressor(alpha=0, theta=0.5)])
def test_groups_without_counts_are_named_whatever_the_exposure(model: Any) -> None:
    """A column of a group without any event has no optimum."""
    group = np.arange(300) % 3 == 0
    rows = np.column_stack([X[:, 0], group])
    with pytest.warns(ConvergenceWarning, match="the column x2 separates some targets"):
        model.fit(rows, np.where(group, 0.0, COUNTS), exposure=EXPOSURE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(rows, COUNTS, exposure=EXPOSURE)


def test_classes_that_an_offset_does_not_mix_are_separated() -> None:
    with pytest.warns(ConvergenceWarning, match="the column x1 separates the targets completely"):
        glm.LogisticRegression(C=np.inf).fit(X[:, :1], X[:, 0] > 0, offset=np.log(EXPOSURE))
