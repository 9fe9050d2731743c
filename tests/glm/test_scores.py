"""Predictions and scores of collections: empty blocks, files, futures, Dask; scikit-learn is the oracle."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
import pandas

from futures_cluster import Executor, glm

RNG = np.random.default_rng(5)
X = RNG.standard_normal((200, 2))
TWO = X[:, 0] + RNG.logistic(size=200) > 0
COUNTS = RNG.poisson(np.exp(X[:, 0] / 2)).astype(float)
WEIGHTS = RNG.random(200) + 0.5
CUTS = [0, 0, 90, 90, 200]  # blocks without rows come first and in the middle
METHODS = ["predict", "predict_proba", "predict_log_proba", "decision_function"]


@pytest.fixture(scope="module")
def ex() -> Iterator[Executor]:
    with Executor(2) as executor:
        executor.run(int)
        yield executor


def cut(array: Any) -> list[Any]:
    return [array[start:stop] for start, stop in itertools.pairwise(CUTS)]


def table(y: Any) -> pandas.DataFrame:
    return pandas.DataFrame(X, columns=["a", "b"]).assign(y=y, w=WEIGHTS)


def files(folder: Path, kind: str, frame: pandas.DataFrame) -> Path:
    for number, part in enumerate(cut(frame)):
        if kind == "csv":
            part.to_csv(folder / f"{number}.csv", index=False)
        else:
            pytest.importorskip("pyarrow")
            part.to_parquet(folder / f"{number}.parquet")
    return folder


@pytest.mark.parametrize("on_workers", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_futures_without_rows(ex: Executor, method: str, on_workers: bool) -> None:
    model = glm.LogisticRegression(executor=ex if on_workers else None).fit(X, TWO)
    answers = getattr(model, method)(ex.scatter(cut(X)))
    found = np.concatenate([each.result() if on_workers else each for each in answers])
    np.testing.assert_allclose(found, getattr(model, method)(X))


@pytest.mark.parametrize("on_workers", [False, True])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_files_without_rows(ex: Executor, tmp_path: Path, kind: str, on_workers: bool) -> None:
    frame = table(np.where(TWO, "late", "in time"))
    path = files(tmp_path, kind, frame)
    executor = ex if on_workers else None
    model = glm.LogisticRegression(executor=executor).fit(path, "y", "w")
    local = glm.LogisticRegression().fit(frame[["a", "b"]], frame["y"], frame["w"])
    np.testing.assert_allclose(model.coef_, local.coef_, atol=1e-7)
    for method in METHODS:
        np.testing.assert_allclose(
            getattr(model, method)(path) == "late" if method == "predict" else getattr(model, method)(path),
            getattr(model, method)(frame[["a", "b"]]) == "late"
            if method == "predict"
            else getattr(model, method)(frame[["a", "b"]]),
        )
    assert model.score(path, "y", "w") == pytest.approx(local.score(frame[["a", "b"]], frame["y"], frame["w"]))
    first = next(iter(sorted(tmp_path.iterdir())))
    assert model.predict(first).shape == (0,)
    with pytest.raises(ValueError, match="no rows to score"):
        model.score(first, "y")


@pytest.mark.parametrize("on_workers", [False, True])
@pytest.mark.parametrize(
    ("model", "y"),
    [
        (glm.LinearRegression(), COUNTS),
        (glm.Lasso(alpha=0.01), COUNTS),
        (glm.PoissonRegressor(), COUNTS),
        (glm.GammaRegressor(), COUNTS + 0.5),
        (glm.TweedieRegressor(power=1.5), COUNTS),
        (glm.LogisticRegression(), TWO),
        (glm.LogisticRegression(), np.digitize(COUNTS, [1, 2])),
    ],
)
def test_scores_are_those_of_all_rows(ex: Executor, model: Any, y: Any, on_workers: bool) -> None:
    model.set_params(executor=ex if on_workers else None).fit(X, y)
    parts = [ex.scatter(cut(each)) for each in (X, y, WEIGHTS)]
    assert model.score(*parts) == pytest.approx(model.score(X, y, WEIGHTS), rel=1e-12)
    pairs = [ex.submit(tuple, pair) for pair in zip(*[cut(each) for each in (X, y)])]
    assert model.score(pairs) == pytest.approx(model.score(X, y), rel=1e-12)
    tables = ex.scatter(cut(table(y)))
    named = type(model)(executor=model.executor).fit(tables, "y", "w")
    expected = named.score(table(y)[["a", "b"]], y, WEIGHTS)
    assert named.score(tables, "y", "w") == pytest.approx(expected, rel=1e-12)


def test_scores_of_dask(ex: Executor) -> None:
    da, dask = pytest.importorskip("dask.array"), pytest.importorskip("dask")
    with dask.config.set(scheduler="sync"):
        model = glm.PoissonRegressor(executor=ex).fit(X, COUNTS)
        score = model.score(*[da.from_array(each, chunks=70) for each in (X, COUNTS, WEIGHTS)])
    assert score == pytest.approx(model.score(X, COUNTS, WEIGHTS), rel=1e-12)


@pytest.mark.parametrize(
    ("y", "message"),
    [(COUNTS - 3, "out of the valid range"), (np.full(200, np.nan), r"y contains NaN. \(block 1\)")],
)
def test_scores_of_targets_that_make_no_sense(ex: Executor, y: Any, message: str) -> None:
    model = glm.PoissonRegressor(executor=ex).fit(X, COUNTS)
    with pytest.raises(ValueError, match=message):
        model.score(ex.scatter(cut(X)), ex.scatter(cut(y)))


def test_scores_of_labels_of_another_kind(ex: Executor) -> None:
    model = glm.LogisticRegression(executor=ex).fit(X, np.where(TWO, "1", "0"))
    with pytest.raises(ValueError, match="classes of the fit"):
        model.score(ex.scatter(cut(X)), ex.scatter(cut(TWO.astype(int))))


def test_one_row_has_no_score(ex: Executor) -> None:
    model = glm.Ridge(executor=ex).fit(X, COUNTS)
    assert np.isnan(model.score(ex.scatter([X[:1]]), ex.scatter([COUNTS[:1]])))


@pytest.mark.parametrize("kind", ["csv", "parquet", "futures", "parts"])
def test_scores_with_an_exposure(ex: Executor, tmp_path: Path, kind: str) -> None:
    exposure = WEIGHTS * 3
    frame = table(COUNTS).assign(time=exposure)
    rows, names = frame[["a", "b"]], ("y", "w")
    model = glm.PoissonRegressor(executor=ex).fit(rows, COUNTS, exposure=exposure)
    expected = model.score(rows, COUNTS, WEIGHTS, exposure=exposure)
    if kind == "parts":
        parts = [ex.scatter(cut(each)) for each in (rows, COUNTS, WEIGHTS, exposure)]
        score = model.score(*parts[:3], exposure=parts[3])
        answer = np.concatenate(ex.gather(model.predict(parts[0], exposure=parts[3])))
    else:
        x = ex.scatter(cut(frame)) if kind == "futures" else files(tmp_path, kind, frame)
        score = model.score(x, *names, exposure="time")
        answer = model.predict(x, exposure="time")
        answer = np.concatenate(ex.gather(answer)) if kind == "futures" else answer
        again = glm.PoissonRegressor(executor=ex).fit(x, *names, exposure="time", columns=["a"])
        local = glm.PoissonRegressor().fit(rows[["a"]], COUNTS, WEIGHTS, exposure=exposure)
        np.testing.assert_allclose(again.coef_, local.coef_, atol=1e-6)
    assert score == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(answer, model.predict(rows, exposure=exposure))


@pytest.mark.parametrize("model", [glm.RidgeCV(cv=3), glm.LassoCV(cv=3), glm.LogisticRegressionCV(cv=3)])
def test_files_and_cross_validation(ex: Executor, tmp_path: Path, model: Any) -> None:
    y = TWO if isinstance(model, glm.LogisticRegressionCV) else COUNTS
    frame = table(y).assign(kind=np.where(X[:, 1] > 0, "p", "q"))
    path = files(tmp_path, "csv", frame)
    model.set_params(executor=ex).fit(path, "y", "w", columns=["a", "kind"], categories=["kind"])
    local = type(model)(cv=3).fit(frame, y, WEIGHTS, columns=["a", "kind"], categories=["kind"])
    np.testing.assert_allclose(model.coef_, local.coef_, atol=1e-5)
    assert model.score(path, "y", "w") == pytest.approx(local.score(frame[["a", "kind"]], y, WEIGHTS), abs=1e-6)
