"""Files: which there are and in what order, columns in their names and their metadata. pandas is the oracle."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
pandas = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

from futures_cluster import Executor, glm
from futures_cluster.glm import parquet
from futures_cluster.glm.files import files_of

RNG = np.random.default_rng(7)
FRAME = pandas.DataFrame(RNG.standard_normal((60, 2)), columns=["a", "b"])
FRAME["y"] = FRAME["a"] - FRAME["b"] + RNG.standard_normal(60)
FRAME["year"] = np.repeat([2023, 2024, 2025], 20)
FRAME["city"] = np.tile(["Bern", "New York"], 30)


@pytest.fixture(scope="module")
def ex() -> Iterator[Executor]:
    with Executor(1) as executor:
        executor.run(int)
        yield executor


@pytest.mark.parametrize(
    "index",
    [
        pandas.RangeIndex(60),
        pandas.Index(np.arange(60.0), name="__null_dask_index__"),
        pandas.Index(np.arange(60) * 7, name="k"),
        pandas.Index(np.arange(60) * 7),
        pandas.date_range("2024", periods=60),
        pandas.Index([f"row {number}" for number in range(60)], name="label"),
        pandas.MultiIndex.from_product([range(6), list("abcdefghij")], names=["i", "j"]),
    ],
    ids=["range", "dask", "named", "unnamed", "dates", "texts", "multi"],
)
def test_an_index_is_no_feature(tmp_path: Path, index: Any) -> None:
    FRAME[["a", "b", "y"]].set_index(index).to_parquet(tmp_path / "t.parquet")
    columns = [name for name in pandas.read_parquet(tmp_path / "t.parquet").columns if name != "y"]
    model = glm.Ridge().fit(tmp_path, "y")
    assert list(model.feature_names_in_) == columns == ["a", "b"]
    assert model.predict(tmp_path).shape == (60,)


def test_what_dask_writes(tmp_path: Path) -> None:
    dd, dask = pytest.importorskip("dask.dataframe"), pytest.importorskip("dask")
    with dask.config.set(scheduler="sync"):
        dd.from_pandas(FRAME[["a", "b", "y"]], npartitions=12).to_parquet(tmp_path)
        expected = dd.read_parquet(tmp_path).compute()
    model = glm.Ridge().fit(tmp_path, "y")
    assert list(model.feature_names_in_) == ["a", "b"]
    np.testing.assert_array_equal(model.predict(tmp_path), model.predict(expected[["a", "b"]]))


def test_an_index_that_is_asked_for_is_a_column(tmp_path: Path) -> None:
    FRAME.set_index(["b", "year"]).to_parquet(tmp_path / "t.parquet")
    model = glm.Ridge().fit(tmp_path, "y", columns=["b", "a"], categories=None)
    expected = glm.Ridge().fit(FRAME[["b", "a"]], FRAME["y"])
    np.testing.assert_allclose(model.coef_, expected.coef_)
    np.testing.assert_allclose(model.predict(tmp_path), expected.predict(FRAME[["b", "a"]]))
    glm.Ridge().fit(tmp_path, "year", columns=["a"])


@pytest.mark.parametrize("on_workers", [False, True])
@pytest.mark.parametrize("kind", ["parquet", "csv"])
@pytest.mark.parametrize("shape", ["folder", "glob", "glob of folders", "deep glob", "list"])
def test_names_of_folders_are_columns(ex: Executor, tmp_path: Path, kind: str, shape: str, on_workers: bool) -> None:
    folder = tmp_path / "run=1"  # above what is given
    if kind == "parquet":
        FRAME.to_parquet(folder, partition_cols=["year", "city"])
    else:
        for (year, city), part in FRAME.groupby(["year", "city"]):
            path = folder / f"year={year}" / f"city={city.replace(' ', '%20')}"
            path.mkdir(parents=True)
            part[["a", "b", "y"]].to_csv(path / "part.csv", index=False)
    names = f"{folder}/*/*/*.{kind}"
    x: Any = {
        "folder": folder,
        "glob": names,
        "glob of folders": f"{folder}/year=*",
        "deep glob": f"{folder}/**",
        "list": sorted(glob.glob(names)),
    }[shape]
    columns = ["a", "b", "year", "city_Bern", "city_New York"]
    oracle = pandas.get_dummies(FRAME[["a", "b", "year", "city"]], columns=["city"], dtype=float)
    model = glm.Ridge(executor=ex if on_workers else None).fit(x, "y", categories=["city"])
    assert list(model.feature_names_in_) == columns == list(oracle.columns)
    np.testing.assert_allclose(model.coef_, glm.Ridge().fit(oracle, FRAME["y"]).coef_)
    np.testing.assert_allclose(np.sort(model.predict(x)), np.sort(model.predict(oracle)))
    assert model.score(x, "y") == pytest.approx(model.score(oracle, FRAME["y"]))
    single = sorted(glob.glob(names))[0]
    assert len(model.predict(single)) == 10
    with pytest.raises(ValueError, match=r"city \(.*categories="):
        glm.Ridge(executor=ex).fit(x, "y")


def test_a_target_in_the_names_of_folders(tmp_path: Path) -> None:
    frame = FRAME[["a", "b"]].assign(late=np.where(FRAME["y"] > 0, "yes", "no"))
    frame.to_parquet(tmp_path, partition_cols=["late"])
    model = glm.LogisticRegression().fit(tmp_path, "late")
    expected = glm.LogisticRegression().fit(frame[["a", "b"]], frame["late"])
    np.testing.assert_allclose(model.coef_, expected.coef_, atol=1e-6)


def test_a_missing_value_in_the_name_of_a_folder(tmp_path: Path) -> None:
    FRAME[["a", "y"]].assign(year=[None] + [1.0] * 59).astype({"year": "Int64"}).to_parquet(
        tmp_path, partition_cols=["year"]
    )
    with pytest.raises(ValueError, match=r"NaN\. Look at the columns year"):
        glm.Ridge().fit(tmp_path, "y")


@pytest.mark.parametrize("shape", ["folder", "glob"])
def test_files_come_in_the_order_of_their_numbers(tmp_path: Path, shape: str) -> None:
    names = [f"part.{number}.csv" for number in range(12)]
    for name in reversed(names):
        (tmp_path / name).write_text("a,y\n1,1\n")
    found = files_of(tmp_path if shape == "folder" else f"{tmp_path}/*.csv")
    assert [Path(each.path).name for each in found] == names
    given = [tmp_path / "part.10.csv", tmp_path / "part.2.csv"]
    assert [Path(each.path) for each in files_of(given)] == given


def test_what_writers_leave_in_folders_is_no_data(tmp_path: Path) -> None:
    for name in ("_metadata.parquet", ".hidden.csv", "_SUCCESS", "notes.txt", "_temporary/part.csv", ".git/a.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no data")
    for name in ("a.csv", "b.csv.gz", "c.CSV.bz2", "d.csv.xz", "e.parquet", "sub/f.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [str(Path(each.path).relative_to(tmp_path)) for each in files_of(tmp_path)]
    assert found == ["a.csv", "b.csv.gz", "c.CSV.bz2", "d.csv.xz", "e.parquet", "sub/f.csv"]


@pytest.mark.parametrize("end", ["gz", "bz2", "xz", "zip"])
def test_compressed_csv(tmp_path: Path, end: str) -> None:
    FRAME[["a", "b", "y"]].to_csv(tmp_path / f"t.csv.{end}", index=False)
    expected = glm.Ridge().fit(FRAME[["a", "b"]], FRAME["y"])
    np.testing.assert_allclose(glm.Ridge().fit(tmp_path, "y").coef_, expected.coef_)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "cannot read .*t.csv as CSV: No columns"),
        ("t.csv", b"\xff\xfe\x81a,y\n", "cannot read .*t.csv as CSV"),
        ("t.csv", b'a,y\n1,2\n"3,4\n', "cannot read .*t.csv as CSV"),
        ("t.csv.gz", b"a,y\n1,2\n", "cannot read .*t.csv.gz as CSV"),
        ("t.parquet", b"a,y\n1,2\n3,4\n", "cannot read .*t.parquet as Parquet"),
        ("t.csv", b"a,a,y\n1,2,3\n", "the column 'a' occurs more than once in .*t.csv"),
        ("t.csv", b",a,y\n0,1,2\n", "column 0 has no name in .*t.csv.*index=False.*columns="),
        ("t.csv", b"a,b\n1,2\n", "no column 'y' in .*t.csv; there are a, b"),
        ("t.csv", b"a,y\n1,2\n,3\n", r"NaN. Look at the columns a. \(.*t.csv\)"),
    ],
)
def test_files_that_cannot_be_used(ex: Executor, tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    for executor in (None, ex):
        with pytest.raises(ValueError, match=message):
            glm.Ridge(executor=executor).fit(tmp_path / name, "y")


def test_an_index_in_a_csv_file_can_be_left_out(tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "t.csv")
    model = glm.Ridge().fit(tmp_path, "y", columns=["a", "b"])
    np.testing.assert_allclose(model.predict(tmp_path), model.predict(FRAME[["a", "b"]]))


def test_files_with_columns_in_another_order_or_without_one(tmp_path: Path) -> None:
    FRAME[["a", "b", "y"]][:30].to_parquet(tmp_path / "0.parquet")
    FRAME[["y", "b", "a"]][30:].to_csv(tmp_path / "1.csv", index=False)
    model = glm.Ridge().fit(tmp_path, "y")
    np.testing.assert_allclose(model.coef_, glm.Ridge().fit(FRAME[["a", "b"]], FRAME["y"]).coef_)
    np.testing.assert_allclose(model.predict(tmp_path), model.predict(FRAME[["a", "b"]]))
    FRAME[["a", "y"]].to_csv(tmp_path / "2.csv", index=False)
    for use in (lambda: glm.Ridge().fit(tmp_path, "y"), lambda: model.predict(tmp_path)):
        with pytest.raises(ValueError, match=r"2.csv has no column 'b'|no column 'b' in .*2.csv"):
            use()


@pytest.mark.parametrize(
    ("name", "message"),
    [("nix*.csv", r"no file matches .*nix\*.csv"), ("nix.csv", "there is no file .*nix.csv"), ("", "has no CSV or")],
)
def test_no_files(tmp_path: Path, name: str, message: str) -> None:
    model = glm.Ridge().fit(FRAME[["a"]], FRAME["y"])
    path = f"{tmp_path}/{name}"
    for use in (lambda: model.fit(path, "y"), lambda: model.predict(path), lambda: model.score(path, "y")):
        with pytest.raises(FileNotFoundError, match=message):
            use()


def test_blocks_are_as_large_as_the_columns_that_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FRAME.to_parquet(tmp_path / "t.parquet", row_group_size=20)
    monkeypatch.setattr(parquet, "BLOCK_BYTES", 60 * 8 * 2)
    assert len(parquet.row_groups_of(str(tmp_path / "t.parquet"))) == 3
    assert len(parquet.row_groups_of(str(tmp_path / "t.parquet"), 2)) == 1
