"""Libraries that compute with Dask: xarray and dask-glm.

Covers: reading and writing NetCDF and zarr, computing; dask-glm's solvers. Skipped where a library is missing.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from futures_cluster import Executor

dask = pytest.importorskip("dask")
np = pytest.importorskip("numpy")
da = pytest.importorskip("dask.array")

from futures_cluster.adapters.libraries import FileLock, adapt_libraries


def dataset(xr: Any) -> Any:
    values = np.arange(120.0).reshape(12, 10)
    return xr.Dataset({"t": (("time", "x"), values)}, {"time": np.arange(12), "x": np.arange(10)})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_netcdf(ex: Executor, tmp_path: Path, engine: str) -> None:
    xr = pytest.importorskip("xarray")
    pytest.importorskip({"netcdf4": "netCDF4", "h5netcdf": "h5py"}[engine])
    pytest.importorskip({"netcdf4": "netCDF4"}.get(engine, engine))
    with ex.as_default():
        path = tmp_path / "a.nc"
        lazy = dataset(xr).chunk({"time": 4})
        lazy.to_netcdf(path, engine=engine)
        with xr.open_dataset(path, engine=engine, chunks={"time": 3}) as found:
            assert float(found.t.sum()) == 7140
            assert found.t.groupby(found.time % 3).mean().shape == (3, 10)
            kept = found.persist()
            assert float(kept.t.max()) == 119


@pytest.mark.filterwarnings("ignore")
def test_zarr(ex: Executor, tmp_path: Path) -> None:
    xr = pytest.importorskip("xarray")
    pytest.importorskip("zarr")
    with ex.as_default():
        dataset(xr).chunk({"time": 4}).to_zarr(tmp_path / "a.zarr")
        found = xr.open_zarr(tmp_path / "a.zarr")
        assert float(found.t.mean()) == 59.5
        doubled = xr.apply_ufunc(lambda x: 2 * x, found.t, dask="parallelized", output_dtypes=[float])
        assert float(doubled.max()) == 238
        import zarr

        with pytest.raises(ValueError, match="MemoryStore"):
            dataset(xr).chunk({"time": 4}).to_zarr(zarr.storage.MemoryStore())


def test_xarray_is_left_alone_by_others(tmp_path: Path) -> None:
    locks = pytest.importorskip("xarray.backends.locks")
    adapt_libraries()
    assert locks.get_dask_scheduler() == "threaded"
    with Executor(1, backend="threads", set_as_default=True):
        assert locks.get_dask_scheduler() == "threaded"
    with Executor(1, set_as_default=True):
        assert locks.get_dask_scheduler() == "distributed"
        assert isinstance(locks.get_write_lock("name"), FileLock)
    assert locks.get_dask_scheduler() == "threaded"


def test_file_locks() -> None:
    lock = FileLock(f"futures_cluster test {id(object())}")
    other = pickle.loads(pickle.dumps(lock))
    with lock:
        assert lock.locked() and not lock.acquire(False) and not other.acquire(False) and not other.locked()
    assert other.acquire() and not lock.acquire(blocking=False)
    other.release()
    assert not lock.locked() and lock.acquire(False)
    lock.release()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("solver", ["admm", "gradient_descent", "newton", "lbfgs", "proximal_grad"])
def test_dask_glm(ex: Executor, solver: str) -> None:
    algorithms = pytest.importorskip("dask_glm.algorithms")
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 3))
    answers = (values @ [1.0, -2.0, 0.5] + rng.normal(size=200) > 0).astype(float)
    x, y = da.from_array(values, chunks=(50, 3)), da.from_array(answers, chunks=50)
    fit = getattr(algorithms, solver)
    options = {"max_iter": 5} if solver != "newton" else {}
    with dask.config.set(scheduler="sync"):
        expected = fit(x, y, **options)
    with ex.as_default():
        x, y = ex.persist(x, y)
        np.testing.assert_allclose(fit(x, y, **options), expected, rtol=1e-3, atol=1e-3)
