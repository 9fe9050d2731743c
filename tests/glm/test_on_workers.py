"""Fits on workers: every source of rows, the same bits whatever ends first, workers that die, overhead kept small."""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
import pandas
import scipy.sparse
from sklearn.base import clone

from futures_cluster import Executor, glm
from futures_cluster.glm.families import Bernoulli
from futures_cluster.glm.objective import Objective
from futures_cluster.glm.penalties import Penalty
from futures_cluster.glm.rowblocks import RowBlock, split_rows
from futures_cluster.glm.solvers import SOLVERS, Options
from futures_cluster.glm.sums import LocalSums

RNG = np.random.default_rng(0)
X = RNG.standard_normal((400, 3))
ETA = X @ [0.5, -1.0, 0.25] + 0.3
TWO = RNG.random(400) < 1 / (1 + np.exp(-ETA))
COUNTS = RNG.poisson(np.exp(ETA)).astype(float)
WEIGHTS = RNG.random(400) + 0.5
FRAME = pandas.DataFrame(X, columns=["a", "b", "c"]).assign(late=TWO, weight=WEIGHTS)
LOCAL = glm.LogisticRegression().fit(X, TWO)
WEIGHTED = glm.LogisticRegression().fit(X, TWO, WEIGHTS)


@pytest.fixture(scope="module")
def ex() -> Iterator[Executor]:
    with Executor(2) as executor:
        executor.run(int)
        yield executor


def parts(*arrays: Any, number: int = 4) -> list[Any]:
    return list(zip(*[np.array_split(array, number) for array in arrays]))


def close(model: Any, expected: Any) -> None:
    np.testing.assert_allclose(model.coef_, expected.coef_, atol=1e-5)
    np.testing.assert_allclose(model.intercept_, expected.intercept_, atol=1e-5)


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_on_workers(ex: Executor, solver: str) -> None:
    close(glm.LogisticRegression(solver=solver, executor=ex, tol=1e-13).fit(X, TWO), LOCAL)
    if solver != "async_admm":
        first, second = (glm.PoissonRegressor(solver=solver, executor=ex).fit(X, COUNTS) for _ in range(2))
        np.testing.assert_array_equal(first.coef_, second.coef_)
        assert first.history_["objective"] == second.history_["objective"]


@pytest.mark.parametrize("model", [glm.Ridge([0.1, 10.0]), glm.LinearRegression(positive=True)])
def test_several_targets_on_workers(ex: Executor, model: Any) -> None:
    targets = np.column_stack([ETA, ETA**2])
    close(clone(model).set_params(executor=ex).fit(X, targets, WEIGHTS), model.fit(X, targets, WEIGHTS))
    bad = X.copy()
    bad[7, 1] = np.nan
    with pytest.raises(ValueError, match="contains NaN"):
        clone(model).set_params(executor=ex).fit(bad, targets)
    pairs = [ex.submit(tuple, pair) for pair in parts(X, targets)]
    with pytest.raises(ValueError, match="fit one column at a time"):
        clone(model).set_params(executor=ex).fit(pairs)


def test_the_same_bits_whoever_is_first() -> None:
    """Threads end in any order, ``sync`` in one: the sums are the same."""
    fits = []
    for backend, workers in (("threads", 4), ("sync", 1), ("threads", 4)):
        with Executor(workers, backend=backend) as executor:
            pairs = [executor.submit(tuple, pair) for pair in parts(X, TWO, number=9)]
            fits.append(glm.LogisticRegression(executor=executor).fit(pairs).coef_)
    np.testing.assert_array_equal(fits[0], fits[1])
    np.testing.assert_array_equal(fits[0], fits[2])


def test_async_admm_does_not_wait_for_a_slow_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """One block answers only when told; the others go on up to the largest delay, and the end is the same."""
    released = threading.Event()
    answers = [0, 0, 0, 0]
    admm = importlib.import_module("futures_cluster.glm.solvers.admm")
    plain = admm.fit_block
    blocks = split_rows(X, np.where(TWO, 1.0, -1.0), None, 4)

    def fit(block: Any, *args: Any) -> Any:
        number = next(number for number, each in enumerate(blocks) if each is block)
        if number == 0 and answers[0] == 1:
            assert released.wait(60)
        answers[number] += 1
        if sum(answers[1:]) >= 9:
            released.set()
        return plain(block, *args)

    monkeypatch.setattr(admm, "fit_block", fit)
    with LocalSums(blocks, threads=4) as rows:
        objective = Objective(rows, Bernoulli(), Penalty(l2=1 / 400), True)
        result = admm.async_admm(objective, objective.start(0.0), Options(tol=1e-12, max_iter=500))
    assert result.converged
    np.testing.assert_allclose(result.theta[:3], LOCAL.coef_[0], atol=1e-5)


def test_lists_of_futures(ex: Executor) -> None:
    model = glm.LogisticRegression(executor=ex)
    close(clone(model).fit([ex.submit(tuple, pair) for pair in parts(X, TWO)]), LOCAL)
    close(clone(model).fit([ex.submit(tuple, triple) for triple in parts(X, TWO, WEIGHTS)]), WEIGHTED)
    xs, ys, ws = (ex.scatter(list(each)) for each in zip(*parts(X, TWO, WEIGHTS)))
    close(clone(model).fit(xs, ys, ws), WEIGHTED)
    sparse = [ex.submit(scipy.sparse.csr_matrix, x) for x in xs]
    close(clone(model).fit(sparse, ys), LOCAL)
    tables = ex.scatter([FRAME[:150], FRAME[150:151], FRAME[151:]])
    fitted = clone(model).fit(tables, "late", "weight")
    close(fitted, WEIGHTED)
    assert list(fitted.feature_names_in_) == ["a", "b", "c"]
    close(glm.LogisticRegression().fit(tables, "late", "weight"), WEIGHTED)
    answers = fitted.predict(tables)
    np.testing.assert_array_equal(np.concatenate(ex.gather(answers)), fitted.predict(FRAME[["a", "b", "c"]]))


def test_classes_that_only_some_blocks_have(ex: Executor) -> None:
    y = np.digitize(ETA, [-0.5, 1.0])
    order = np.argsort(y, kind="stable")
    pairs = [ex.submit(tuple, pair) for pair in parts(X[order], np.array(["lo", "mid", "up"])[y[order]])]
    model = glm.LogisticRegression(executor=ex, class_weight="balanced").fit(pairs)
    expected = glm.LogisticRegression(class_weight="balanced").fit(X, np.array(["lo", "mid", "up"])[y])
    assert list(model.classes_) == ["lo", "mid", "up"]
    close(model, expected)


def test_an_empty_block_is_no_trouble(ex: Executor) -> None:
    pairs = [ex.submit(tuple, pair) for pair in [(X[:0], TWO[:0]), (X, TWO), (X[:0], TWO[:0])]]
    for solver in ("newton", "admm"):
        close(glm.LogisticRegression(executor=ex, solver=solver, tol=1e-13).fit(pairs), LOCAL)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("on_workers", [False, True])
def test_files(ex: Executor, tmp_path: Path, kind: str, on_workers: bool) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    for number in range(3):
        part = FRAME[number::3]
        if kind == "csv":
            part.to_csv(tmp_path / f"{number}.csv", index=False)
        else:
            part.to_parquet(tmp_path / f"{number}.parquet", index=False, row_group_size=50)
    executor = ex if on_workers else None
    for source in (tmp_path, f"{tmp_path}/*.{kind}", sorted(tmp_path.iterdir())):
        model = glm.LogisticRegression(executor=executor).fit(source, "late", "weight")
        close(model, WEIGHTED)
    answer = model.predict(tmp_path)
    rows = pandas.concat([FRAME[number::3] for number in range(3)])
    np.testing.assert_array_equal(answer, model.predict(rows[["a", "b", "c"]]))


@pytest.fixture
def dask() -> Iterator[Any]:
    """Dask, without threads of its own, which it would keep."""
    module = pytest.importorskip("dask")
    with module.config.set(scheduler="sync"):
        yield module


@pytest.mark.parametrize("on_workers", [False, True])
def test_dask(ex: Executor, on_workers: bool, dask: Any) -> None:
    da = pytest.importorskip("dask.array")
    executor = ex if on_workers else None
    x, y, w = (da.from_array(each, chunks=100) for each in (X, TWO, WEIGHTS))
    model = glm.LogisticRegression(executor=executor).fit(x.rechunk((130, 2)), y, w)
    close(model, WEIGHTED)
    unknown = x[:, 0] > -10
    close(glm.LogisticRegression(executor=executor).fit(x[unknown], y[unknown]), LOCAL)
    answer = model.predict(x)
    assert type(answer) is type(x)
    np.testing.assert_array_equal(answer.compute(scheduler="sync"), model.predict(X))
    np.testing.assert_array_equal(model.predict_proba(x).compute(scheduler="sync"), model.predict_proba(X))


@pytest.mark.parametrize("on_workers", [False, True])
def test_dask_dataframes(ex: Executor, on_workers: bool, dask: Any) -> None:
    dd = pytest.importorskip("dask.dataframe")
    frame = dd.from_pandas(FRAME, npartitions=3)
    model = glm.LogisticRegression(executor=ex if on_workers else None).fit(frame, "late", "weight")
    close(model, WEIGHTED)
    close(clone(model).fit(frame[["a", "b", "c"]], frame["late"]), LOCAL)
    answer = model.predict(frame).compute(scheduler="sync")
    assert list(answer.index) == list(FRAME.index)
    np.testing.assert_array_equal(answer.to_numpy(), model.predict(FRAME[["a", "b", "c"]]))


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        ([(X, TWO), (X[:, :2], TWO)], None, ValueError, "block 1 has 2 columns"),
        ([(X, TWO[:5])], None, ValueError, "400 rows and 5 targets"),
        ([(X * np.nan, TWO)], None, ValueError, "contains NaN. .block 0"),
        ([(X, TWO), (X, np.full(400, np.inf))], None, ValueError, "infinity. .block 1"),
        ([(X[:0], TWO[:0])], None, ValueError, "no rows"),
        ([(X, np.ones(400))], None, ValueError, "only one class"),
        ([X], None, TypeError, r"\(X, y\)"),
        ([FRAME], "absent", ValueError, "no column 'absent'"),
        ([FRAME.assign(a="text")], "late", ValueError, "columns must be numbers, and a"),
        ([X], [TWO, TWO], ValueError, "X has 1 blocks, and y has 2"),
        ("nowhere/*.csv", "y", FileNotFoundError, "no file"),
        ("nowhere/*.csv", None, TypeError, "name of the target"),
    ],
)
def test_blocks_that_do_not_fit(ex: Executor, x: Any, y: Any, error: type[Exception], message: str) -> None:
    if isinstance(x, list):
        x = [ex.scatter({"it": each})["it"] for each in x]
    with pytest.raises(error, match=message):
        glm.LogisticRegression(executor=ex).fit(x, y)


def test_negative_counts_in_a_block(ex: Executor) -> None:
    pairs = [ex.submit(tuple, pair) for pair in parts(X, COUNTS - 5)]
    with pytest.raises(ValueError, match="out of the valid range"):
        glm.PoissonRegressor(executor=ex).fit(pairs)


def test_a_worker_that_dies_during_a_fit_changes_nothing() -> None:
    with Executor(2) as executor:
        pids = [facts["pid"] for facts in executor.workers().values()] or list(executor.run(os.getpid).values())
        pairs = [executor.submit(tuple, pair) for pair in parts(X, TWO)]

        def kill(iteration: Any) -> None:
            if iteration.number == 1:
                os.kill(pids[0], signal.SIGKILL)

        model = glm.LogisticRegression(executor=executor, solver="lbfgs", callback=kill).fit(pairs)
        quiet = glm.LogisticRegression(executor=executor, solver="lbfgs").fit(pairs)
    np.testing.assert_array_equal(model.coef_, quiet.coef_)
    close(model, LOCAL)


def test_clones_and_grids_use_the_same_executor(ex: Executor) -> None:
    model = glm.LogisticRegression(executor=ex)
    assert clone(model).executor is ex
    assert pickle.loads(pickle.dumps(model)).executor is None


def test_the_tasks_of_a_worker_share_a_scattered_block() -> None:
    """They promise not to change it: each pass would pay for a mapping of its own."""
    with Executor(1) as ex:
        (block,) = ex.scatter([RowBlock(np.ones((50_000, 2)), np.ones(50_000))])
        assert len({ex.submit(id, block).result() for _ in range(3)}) == 1
