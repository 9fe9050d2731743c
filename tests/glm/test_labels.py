"""Labels: those that are missing, of different kinds in different blocks, or without weight."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
import pandas
from sklearn.exceptions import ConvergenceWarning

from futures_cluster import Executor, glm


@pytest.fixture(scope="module")
def ex() -> Iterator[Executor]:
    with Executor(2) as executor:
        executor.run(int)
        yield executor


@pytest.mark.parametrize("kind", ["csv", "parquet", "futures"])
@pytest.mark.parametrize("values", [["a", None, "b", "a"], [True, None, False, True], [1, None, 0, 1]])
def test_a_label_that_is_missing(ex: Executor, tmp_path: Path, kind: str, values: list[Any]) -> None:
    frame = pandas.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "y": values})
    x: Any = tmp_path / f"0.{kind}"
    if kind == "futures":
        x = ex.scatter([frame])
    elif kind == "csv":
        frame.to_csv(x, index=False)
    else:
        pytest.importorskip("pyarrow")
        frame.to_parquet(x)
    with pytest.raises(ValueError, match=r"Input y contains (None or )?NaN.*\(.*0"):
        glm.LogisticRegression(executor=ex).fit(x, "y")
    with pytest.raises(ValueError, match="Input y contains None or NaN"):
        glm.LogisticRegression().fit(frame[["a"]], np.array(values, dtype=object))


@pytest.mark.parametrize("kind", ["object", "string", "category"])
@pytest.mark.parametrize("way", ["values", "name", "futures"])
def test_a_missing_label_of_a_series(ex: Executor, kind: str, way: str) -> None:
    frame = pandas.DataFrame({"a": np.arange(4.0), "y": pandas.Series(["a", None, "b", "a"], dtype=kind)})
    with pytest.raises(ValueError, match="Input y contains None or NaN: leave out rows without a target"):
        if way == "values":
            glm.LogisticRegression().fit(frame[["a"]], frame.y)
        elif way == "name":
            glm.LogisticRegression().fit(frame, "y")
        else:
            glm.LogisticRegression(executor=ex).fit(ex.scatter([frame]), "y")


@pytest.mark.parametrize("labels", [[1, "a", 1, "a"], ["a", True, "b", False]])
def test_labels_that_are_texts_and_others(ex: Executor, labels: list[Any]) -> None:
    x, y = np.arange(4.0)[:, None], np.array(labels, dtype=object)
    text = r"the target has texts and other values, such as 'a' and (1|True): make all of them texts"
    for target in (y, pandas.Series(y)):
        with pytest.raises(ValueError, match=text):
            glm.LogisticRegression().fit(x, target)
    with pytest.raises(ValueError, match=text):
        glm.LogisticRegression(executor=ex).fit([ex.submit(tuple, (x, y))])


def test_labels_that_are_texts_in_some_blocks_only(ex: Executor) -> None:
    x = np.arange(4.0)[:, None]
    pairs = [ex.submit(tuple, (x, y)) for y in (np.array([0, 1, 0, 1]), np.array(["0", "1", "0", "1"]))]
    with pytest.raises(ValueError, match="texts in some blocks"):
        glm.LogisticRegression(executor=ex).fit(pairs)


@pytest.mark.parametrize("kind", [glm.LogisticRegression, glm.LogisticRegressionCV])
def test_weights_of_classes_that_are_none(kind: Any) -> None:
    x, y = np.arange(30.0)[:, None], np.array(["a", "b"] * 15)
    for weights in ({"zzz": 2}, {"a": 1, "zzz": 2}):
        with pytest.raises(ValueError, match=rf"{kind.__name__}\(class_weight=.*'zzz' is no class.*\['a', 'b'\]"):
            kind(class_weight=weights).fit(x, y)
    for weights in ({"a": 1, "b": 1, "zzz": 2}, {"a": 2}, {}):  # as in scikit-learn
        kind(class_weight=weights).fit(x, y)


@pytest.mark.parametrize("kind", [glm.LogisticRegression, glm.LogisticRegressionCV])
def test_class_weights_that_leave_no_sample_a_weight(kind: Any) -> None:
    x, y = np.arange(6.0)[:, None], np.array(["a", "b"] * 3)
    with pytest.raises(ValueError, match=rf"{kind.__name__}\(class_weight=.*\) leaves no sample a weight"):
        kind(class_weight={"a": 0, "b": 0}).fit(x, y)
    with pytest.raises(ValueError, match="leaves no sample a weight"):
        kind(class_weight={"a": 0}).fit(x, y, sample_weight=(y == "a") * 1.0)


@pytest.mark.parametrize("in_blocks", [False, True])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("by", ["sample_weight", "class_weight"])
def test_a_class_without_weight_is_named(ex: Executor, in_blocks: bool, classes: int, by: str) -> None:
    x, y = np.sin(np.arange(12.0))[:, None], np.array(["a", "b", "c"][:classes] * (12 // classes))
    model = glm.LogisticRegression(class_weight={"b": 0} if by == "class_weight" else None, tol=1e-4)
    weights = (y != "b").astype(float) if by == "sample_weight" else None
    with pytest.warns(ConvergenceWarning, match="LogisticRegression: the weights of all samples of class 'b' are zero"):
        if in_blocks:
            halves = [slice(0, 6), slice(6, 12)]
            pairs = [(x[half], y[half], None if weights is None else weights[half]) for half in halves]
            model.set_params(executor=ex).fit([ex.submit(tuple, each) for each in pairs])
        else:
            model.fit(x, y, weights)
    assert "b" not in model.predict(x)


@pytest.mark.parametrize("in_blocks", [False, True])
def test_a_class_without_weight_cannot_be_balanced(ex: Executor, in_blocks: bool) -> None:
    x, y = np.arange(6.0)[:, None], np.array(["a", "b"] * 3)
    model = glm.LogisticRegression(class_weight="balanced", executor=ex)
    with pytest.raises(ValueError, match=r"'balanced'.*class 'b' is zero"):
        if in_blocks:
            model.fit([ex.submit(tuple, (x, y, (y == "a").astype(float)))])
        else:
            model.fit(x, y, y == "a")
