"""Arrays of a program that lie in files, on hosts with and without the file."""

from __future__ import annotations

import copyreg
import io
import pickle
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy", reason="numpy is not installed")

from futures_cluster.wire.codec import memmaps


def dumps(obj: Any, table: Any) -> bytes:
    file = io.BytesIO()
    pickler = pickle.Pickler(file, 5)
    pickler.dispatch_table = {**copyreg.dispatch_table, **table}
    pickler.dump(obj)
    return file.getvalue()


@pytest.mark.parametrize("mode, is_writable", [("r", False), ("r+", False), ("c", True)])
def test_a_host_without_the_file(tmp_path: Path, mode: str, is_writable: bool) -> None:
    """Its tasks find the contents; what could not reach the file is read-only."""
    path = tmp_path / "a"
    np.arange(200_000.0).tofile(path)
    array = np.memmap(path, mode=mode, dtype="f8")[1::2]
    data = dumps(array, memmaps.REDUCERS_WITH_CONTENTS)
    here = pickle.loads(data)
    assert type(here) is np.memmap and here.filename == str(path) and here.flags.writeable == (mode != "r")
    path.unlink()
    there = pickle.loads(data)
    assert np.array_equal(there, array) and there.flags.writeable is is_writable


def test_large_contents_stay_at_home(tmp_path: Path) -> None:
    np.zeros(1_000_000).tofile(tmp_path / "a")
    array = np.memmap(tmp_path / "a", mode="r", dtype="f8")
    data = dumps(array, memmaps.REDUCERS)
    assert len(data) < 1000 and pickle.loads(data).sum() == 0
    (tmp_path / "a").unlink()
    with pytest.raises(FileNotFoundError, match="which this worker cannot open"):
        pickle.loads(data)


def test_other_arrays_pickle_as_ever() -> None:
    for array in (np.arange(3.0), np.array([None, "x"]), np.zeros((0, 2))):
        back = pickle.loads(dumps(array, memmaps.REDUCERS))
        assert back.tolist() == array.tolist() and back.shape == array.shape
