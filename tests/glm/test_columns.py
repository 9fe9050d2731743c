"""Columns of tables: which are features, how categories are encoded, what is refused. scikit-learn is the oracle."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
import pandas
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from futures_cluster import Executor, glm

RNG = np.random.default_rng(3)
ROWS = 300
FRAME = pandas.DataFrame(
    {
        "age": RNG.standard_normal(ROWS),
        "city": np.repeat(["Rome", "Bern", "Oslo"], ROWS // 3),  # each block has but one or two of them
        "month": RNG.integers(1, 4, ROWS),
        "weight": RNG.random(ROWS) + 0.5,
    }
)
FRAME["late"] = FRAME["age"] + (FRAME["city"] == "Rome") + RNG.logistic(size=ROWS) > 0
COLUMNS = ["city", "age", "month"]
SOURCES = ["csv", "parquet", "futures", "dask", "local"]


@pytest.fixture(scope="module")
def ex() -> Iterator[Executor]:
    with Executor(2) as executor:
        executor.run(int)
        yield executor


@pytest.fixture(autouse=True)
def no_threads_of_dask() -> Iterator[None]:
    """It would keep them."""
    try:
        import dask
    except ModuleNotFoundError:
        yield
        return
    with dask.config.set(scheduler="sync"):
        yield


def source(kind: str, frame: pandas.DataFrame, folder: Path, ex: Executor) -> Any:
    """The frame in two parts as this kind of collection."""
    half = len(frame) // 2
    parts = [frame[:half], frame[half:]]
    if kind == "futures":
        return ex.scatter(parts)
    if kind == "dask":
        dd = pytest.importorskip("dask.dataframe")
        return dd.from_pandas(frame.reset_index(drop=True), npartitions=2)
    if kind == "local":
        return frame
    for number, part in enumerate(parts):
        if kind == "csv":
            part.to_csv(folder / f"{number}.csv", index=False)
        else:
            pytest.importorskip("pyarrow")
            part.to_parquet(folder / f"{number}.parquet")
    return folder


def target(kind: str, frame: pandas.DataFrame, name: str) -> Any:
    return frame[name] if kind == "local" else name


def collected(ex: Executor, answer: Any) -> Any:
    if isinstance(answer, list):
        return np.concatenate(ex.gather(answer))
    return answer.compute(scheduler="sync").to_numpy() if hasattr(answer, "compute") else answer


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("on_workers", [False, True])
def test_categories_are_encoded_as_scikit_learn_does(ex: Executor, tmp_path: Path, kind: str, on_workers: bool) -> None:
    encoder = make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough")
    oracle = make_pipeline(encoder, LogisticRegression(solver="newton-cholesky", tol=1e-10))
    oracle.fit(FRAME[COLUMNS], FRAME["late"], logisticregression__sample_weight=FRAME["weight"])
    model = glm.LogisticRegression(tol=1e-14, executor=ex if on_workers else None)
    x = source(kind, FRAME, tmp_path, ex)
    model.fit(x, "late", "weight", columns=COLUMNS, categories=["city"])
    np.testing.assert_allclose(model.coef_, oracle[-1].coef_, atol=1e-6)
    assert list(model.feature_names_in_) == ["city_Bern", "city_Oslo", "city_Rome", "age", "month"]
    assert model.columns_ == COLUMNS and list(model.categories_["city"]) == ["Bern", "Oslo", "Rome"]

    expected = oracle.predict(FRAME[COLUMNS])
    np.testing.assert_array_equal(model.predict(FRAME[COLUMNS]), expected)
    if kind != "local":
        np.testing.assert_array_equal(collected(ex, model.predict(x)), expected)
    score = model.score(x, "late", "weight")
    assert score == pytest.approx(oracle.score(FRAME[COLUMNS], FRAME["late"], FRAME["weight"]), abs=1e-12)


@pytest.mark.parametrize("kind", SOURCES)
def test_a_level_that_the_fit_has_not_seen_is_named(ex: Executor, tmp_path: Path, kind: str) -> None:
    model = glm.LogisticRegression(executor=ex)
    known = FRAME[FRAME["city"] != "Oslo"]
    model.fit(known, known["late"], columns=COLUMNS, categories=["city"])
    rows = FRAME if kind != "local" else FRAME[COLUMNS]
    with pytest.raises(ValueError, match=r"'city' has the value 'Oslo'.*'Bern', 'Rome'"):
        collected(ex, model.predict(source(kind, rows, tmp_path, ex)))


@pytest.mark.parametrize("kind", SOURCES)
def test_texts_are_refused_with_the_way_to_encode_them(ex: Executor, tmp_path: Path, kind: str) -> None:
    with pytest.raises(ValueError, match=r"city .*categories=\['city'\].*columns="):
        glm.LogisticRegression(executor=ex).fit(source(kind, FRAME, tmp_path, ex), "late")


@pytest.mark.parametrize("values", [["x", "y"], pandas.Categorical(["x", "y"]), pandas.to_datetime(["2024", "2025"])])
def test_texts_of_a_frame_in_this_process_are_refused_in_predict_too(values: Any) -> None:
    frame = pandas.DataFrame({"a": [1.0, 2.0], "b": [2.0, 4.0]})
    model = glm.LinearRegression().fit(frame, [1.0, 2.0])
    with pytest.raises(ValueError, match=r"columns must be numbers, and b \(.*\) is not: encode categories by fit"):
        model.predict(frame.assign(b=values))
    with pytest.raises(ValueError, match=r"columns must be numbers, and b \("):
        glm.LinearRegression().fit(frame.assign(b=values), [1.0, 2.0])
    with pytest.raises(ValueError, match=r"and 1 \(.*\) is not: make names of columns texts.*categories=\['1'\]"):
        glm.LinearRegression().fit(frame.assign(b=values).set_axis([0, 1], axis=1), [1.0, 2.0])


@pytest.mark.parametrize("kind", ["csv", "parquet", "futures"])
def test_levels_that_the_caller_gives(ex: Executor, tmp_path: Path, kind: str) -> None:
    """Their order is kept, levels that no row has count, and texts of digits stay texts."""
    frame = pandas.DataFrame({"zip": ["007", "12", "007", "12"], "y": [1.0, 2.0, 1.5, 2.5]})
    model = glm.Ridge(executor=ex)
    x = source(kind, frame, tmp_path, ex)
    model.fit(x, "y", categories={"zip": ["12", "007", "99"]})
    assert list(model.feature_names_in_) == ["zip_12", "zip_007", "zip_99"]
    assert model.coef_[0] > 0 > model.coef_[1] and model.coef_[2] == 0
    np.testing.assert_allclose(collected(ex, model.predict(x)), model.predict(frame[["zip"]]))
    with pytest.raises(ValueError, match="'007', which is not among"):
        glm.Ridge(executor=ex).fit(x, "y", categories={"zip": ["12"]})


@pytest.mark.parametrize("kind", SOURCES)
def test_the_first_level_can_be_left_out(ex: Executor, tmp_path: Path, kind: str) -> None:
    """As pandas.get_dummies does; without it, standard errors of a fit without a penalty mean nothing."""
    dummies = pandas.get_dummies(FRAME[COLUMNS], columns=["city", "month"], drop_first=True, dtype=float)
    oracle = glm.LinearRegression().fit(dummies, FRAME["weight"])
    x, y = source(kind, FRAME, tmp_path, ex), target(kind, FRAME, "weight")
    model = glm.LinearRegression(executor=ex)
    model.fit(x, y, columns=["age", "city", "month"], categories=["city", "month"], drop_first=True)
    assert list(model.feature_names_in_) == list(dummies.columns)
    np.testing.assert_allclose(model.coef_, oracle.coef_, atol=1e-9)
    np.testing.assert_allclose(model.summary().std_err, oracle.summary().std_err)
    np.testing.assert_allclose(model.predict(FRAME[["age", "city", "month"]]), oracle.predict(dummies))
    if kind != "local":
        np.testing.assert_allclose(collected(ex, model.predict(x)), oracle.predict(dummies))


@pytest.mark.parametrize("kind", ["parquet", "futures"])
@pytest.mark.parametrize(
    ("values", "names"),
    [
        (pandas.to_datetime(["2024-02-01", "2024-01-01"] * 2), ["a_2024-01-01 00:00:00", "a_2024-02-01 00:00:00"]),
        (pandas.Categorical(["p", "o", "p", "o"], ["p", "o", "unused"]), ["a_o", "a_p"]),
        (pandas.array([2, 1, 2, 1], dtype="Int64"), ["a_1", "a_2"]),
        ([True, False, True, False], ["a_False", "a_True"]),
        ([2.5, 1.0, 2.5, 1.0], ["a_1.0", "a_2.5"]),
    ],
)
def test_kinds_of_categories(ex: Executor, tmp_path: Path, kind: str, values: Any, names: list[str]) -> None:
    frame = pandas.DataFrame({"a": values, "y": [2.0, 1.0, 2.0, 1.0]})
    x = source(kind, frame, tmp_path, ex)
    model = glm.LinearRegression(executor=ex).fit(x, "y", categories=["a"])
    assert list(model.feature_names_in_) == names
    np.testing.assert_allclose(collected(ex, model.predict(x)), frame["y"])
    np.testing.assert_allclose(model.predict(frame[["a"]]), frame["y"])


def test_numbers_beside_booleans(ex: Executor) -> None:
    frame = pandas.DataFrame({"a": [0.5, 1.0, 2.0], "b": [True, False, True], "y": [1.0, 2.0, 4.0]})
    model = glm.Ridge(executor=ex).fit(ex.scatter([frame]), "y")
    np.testing.assert_allclose(model.coef_, glm.Ridge().fit(frame[["a", "b"]].astype(float), frame["y"]).coef_)


def test_many_levels_become_sparse_rows(ex: Executor) -> None:
    frame = pandas.DataFrame({"id": np.arange(600) % 150, "z": RNG.standard_normal(600), "y": RNG.random(600)})
    model = glm.Ridge(executor=ex).fit(ex.scatter([frame[:300], frame[300:]]), "y", categories=["id"])
    dense = glm.Ridge().fit(np.column_stack([np.eye(150)[frame["id"]], frame["z"]]), frame["y"])
    np.testing.assert_allclose(model.coef_, dense.coef_, atol=1e-8)
    expected = model.predict(frame[["id", "z"]])
    np.testing.assert_allclose(collected(ex, model.predict(ex.scatter([frame]))), expected)


@pytest.mark.parametrize("kind", ["parquet", "futures"])
@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        (pandas.array([1, 2, 3, 5], dtype="Int64"), [1, 2, 3, 5]),
        (pandas.array([True, False, True, True], dtype="boolean"), [1, 0, 1, 1]),
        ([Decimal("1.5"), Decimal("2"), Decimal("0"), Decimal("4")], [1.5, 2, 0, 4]),
        ([True, False, True, True], [1, 0, 1, 1]),
        (np.array([1, 2, 3, 5], dtype=np.float32), [1, 2, 3, 5]),
    ],
)
def test_kinds_of_numbers(ex: Executor, tmp_path: Path, kind: str, values: Any, numbers: list[float]) -> None:
    frame = pandas.DataFrame({"a": values, "y": [1.0, 2.0, 4.0, 8.0]})
    model = glm.Ridge(executor=ex).fit(source(kind, frame, tmp_path, ex), "y")
    np.testing.assert_allclose(model.coef_, glm.Ridge().fit(np.array(numbers)[:, None], frame["y"]).coef_)


@pytest.mark.parametrize("kind", ["parquet", "futures"])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        (pandas.array([1, None, 3, 5], dtype="Int64"), "NaN. Look at the columns a"),
        (pandas.array([True, None, True, True], dtype="boolean"), "NaN. Look at the columns a"),
        ([True, None, True, True], "NaN. Look at the columns a"),
        ([None, None, None, None], "NaN. Look at the columns a"),
        ([Decimal("1"), None, Decimal("2"), Decimal("3")], "NaN. Look at the columns a"),
        (pandas.date_range("2024", periods=4), r"a \((datetime64|timestamp).*columns="),
        (pandas.to_timedelta([1, 2, 3, 4]), r"a \((timedelta64|duration).*columns="),
        (pandas.Categorical(["p", "q", "p", "q"]), r"a \((categorical|dictionary).*categories=\['a'\]"),
    ],
)
def test_values_that_are_no_numbers(ex: Executor, tmp_path: Path, kind: str, values: Any, message: str) -> None:
    frame = pandas.DataFrame({"a": values, "y": [1.0, 2.0, 4.0, 8.0]})
    with pytest.raises(ValueError, match=message):
        glm.Ridge(executor=ex).fit(source(kind, frame, tmp_path, ex), "y")


def test_columns_in_another_order_are_the_same_columns(ex: Executor) -> None:
    frame = FRAME[["age", "month", "late"]]
    tables = ex.scatter([frame[:150], frame[150:][["late", "month", "age"]]])
    model = glm.LogisticRegression(executor=ex).fit(tables, "late")
    expected = glm.LogisticRegression().fit(frame[["age", "month"]], frame["late"])
    np.testing.assert_allclose(model.coef_, expected.coef_, atol=1e-9)
    np.testing.assert_array_equal(collected(ex, model.predict(tables)), expected.predict(frame[["age", "month"]]))


def test_names_of_columns_that_are_numbers_are_no_names(ex: Executor) -> None:
    model = glm.Ridge(executor=ex).fit(ex.scatter([pandas.DataFrame(np.eye(3))]), ex.scatter([np.arange(3.0)]))
    assert not hasattr(model, "feature_names_in_")
    model.predict(np.eye(3))


def test_a_fit_of_arrays_forgets_the_columns_of_the_last_fit() -> None:
    model = glm.Ridge().fit(FRAME, FRAME["weight"], columns=["age", "city"], categories=["city"])
    model.fit(np.eye(3), np.arange(3.0))
    assert not hasattr(model, "columns_") and not hasattr(model, "categories_")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"columns": "age"}, TypeError, "list of names"),
        ({"columns": ["age", "age"]}, ValueError, "all different"),
        ({"columns": []}, ValueError, "one or more"),
        ({"columns": ["absent"]}, ValueError, "no column 'absent'.*there are age, city"),
        ({"columns": ["age", "late"]}, ValueError, "'late' is the target"),
        ({"columns": ["age"], "categories": ["city"]}, ValueError, "'city', which is not in columns"),
        ({"categories": "city"}, TypeError, "list of names"),
        ({"categories": {"city": "Rome"}}, TypeError, "must be a list"),
        ({"categories": {"city": []}}, ValueError, "one or more"),
        ({"columns": ["age"], "drop_first": True}, ValueError, "about categories"),
    ],
)
def test_choices_that_do_not_fit(ex: Executor, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        glm.LogisticRegression(executor=ex).fit(ex.scatter([FRAME]), "late", **options)


def test_a_table_with_nothing_but_a_target(ex: Executor) -> None:
    with pytest.raises(ValueError, match="no column for features"):
        glm.Ridge(executor=ex).fit(ex.scatter([FRAME[["weight"]]]), "weight")


def test_columns_are_of_tables(ex: Executor) -> None:
    for x, y in ((np.eye(3), np.arange(3.0)), (ex.scatter([np.eye(3)]), ex.scatter([np.arange(3.0)]))):
        with pytest.raises(TypeError, match="need tables"):
            glm.Ridge(executor=ex).fit(x, y, columns=["a"])


def test_blocks_that_lack_a_column_or_have_one_more(ex: Executor) -> None:
    few, many = FRAME[["age", "late"]], FRAME[["age", "month", "late"]]
    with pytest.raises(ValueError, match="block 1 has no column 'month'"):
        glm.LogisticRegression(executor=ex).fit(ex.scatter([many, few]), "late")
    with pytest.raises(ValueError, match=r"block 1 has a column 'month'.*columns="):
        glm.LogisticRegression(executor=ex).fit(ex.scatter([few, many]), "late")
    glm.LogisticRegression(executor=ex).fit(ex.scatter([few, many]), "late", columns=["age"])


def test_names_that_encoding_would_make_twice(ex: Executor) -> None:
    frame = FRAME.assign(city_Rome=1.0)
    with pytest.raises(ValueError, match="two columns would be called 'city_Rome'"):
        glm.LogisticRegression(executor=ex).fit(ex.scatter([frame]), "late", categories=["city"])


def test_a_category_of_texts_and_numbers(ex: Executor) -> None:
    tables = ex.scatter([FRAME.assign(city=1), FRAME])
    with pytest.raises(ValueError, match="'city' has texts and other values"):
        glm.LogisticRegression(executor=ex).fit(tables, "late", categories=["city"])


def test_columns_far_from_zero_beside_categories(ex: Executor) -> None:
    """What is subtracted from a column belongs to it, also where a block has another order of columns."""
    frame = FRAME.assign(seconds=1.7e9 + np.arange(ROWS))[["seconds", "city", "age"]]
    frame["y"] = frame["age"] + (frame["seconds"] - 1.7e9) / 100 + (frame["city"] == "Rome")
    tables = ex.scatter([frame[:150], frame[150:][["age", "y", "city", "seconds"]]])
    model = glm.LinearRegression(executor=ex).fit(tables, "y", categories=["city"], drop_first=True)
    assert list(model.feature_names_in_) == ["seconds", "city_Oslo", "city_Rome", "age"]
    np.testing.assert_allclose(model.coef_, [0.01, 0, 1, 1], atol=1e-6)


@pytest.mark.parametrize("Model", [glm.Lasso, glm.ElasticNet])
def test_models_with_an_l1_penalty_choose_columns_too(Model: Any, tmp_path: Path) -> None:
    table = pandas.DataFrame({"a": [1.0, 2.0, 3.0, 5.0], "kind": ["x", "y", "x", "y"], "y": [1.0, 2.0, 3.0, 4.0]})
    table.to_csv(path := tmp_path / "t.csv", index=False)
    model = Model(alpha=0.01).fit(str(path), "y", columns=["a", "kind"], categories=["kind"])
    assert list(model.columns_) == ["a", "kind"] and model.coef_.shape == (3,)
