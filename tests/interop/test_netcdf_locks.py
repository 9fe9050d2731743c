"""xarray chooses the locks of the files that it writes when it makes the graph.

Covers: writes that are computed later, with an executor as the default then and without. Does not cover: reading, zarr
(``tests/adapters/test_dask_libraries``).
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from futures_cluster import Executor

xr = pytest.importorskip("xarray")
pytest.importorskip("netCDF4")
np = pytest.importorskip("numpy")
pytest.importorskip("dask")


@pytest.fixture(scope="module")
def ex() -> Iterator[Executor]:
    with Executor(2) as executor:
        executor.run(abs, 1)
        yield executor


def dataset() -> xr.Dataset:
    return xr.Dataset({"t": (("time", "x"), np.arange(120.0).reshape(12, 10))}).chunk({"time": 4})


def test_the_default_when_the_graph_is_made(ex: Executor, tmp_path: Path) -> None:
    with ex.as_default():
        later = dataset().to_netcdf(tmp_path / "a.nc", compute=False, engine="netcdf4")
        xr.save_mfdataset([dataset() + 1], [tmp_path / "b.nc"], engine="netcdf4")
    assert ex.compute(later).result() is None
    for name, total in (("a.nc", 7140), ("b.nc", 7260)):
        with xr.open_dataset(tmp_path / name, engine="netcdf4") as found:
            assert float(found.t.sum()) == total


def test_no_default_when_the_graph_is_made(ex: Executor, tmp_path: Path) -> None:
    later = dataset().to_netcdf(tmp_path / "a.nc", compute=False, engine="netcdf4")
    with pytest.raises(TypeError, match="the executor must be the default when to_netcdf"):
        ex.compute(later)
    later.compute(scheduler="sync")
    with xr.open_dataset(tmp_path / "a.nc", engine="netcdf4") as found:
        assert float(found.t.sum()) == 7140
    with pytest.raises(TypeError, match=r"cannot pickle '_thread\.lock' object"):
        pickle.dumps(threading.Lock())
