"""
Warming stripes with xarray
===========================

An invented temperature field of 120 years is an xarray object over a Dask array. The workers make its chunks, one for
each year, and keep them; only a map and one number for each year come back.
"""

import time

import dask.array as da
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from futures_cluster import Executor

YEARS = range(1900, 2020)
LATITUDES, LONGITUDES = np.linspace(-89.5, 89.5, 180), np.linspace(0, 359, 360)


def make_field():
    """Return monthly temperatures: zones, seasons, a trend that is larger in the north, and noise."""
    time = xr.date_range("1900-01", periods=12 * len(YEARS), freq="MS")
    noise = da.random.default_rng(0).normal(0, 1.5, (len(time), 180, 360), chunks=(12, 180, 360)).astype(np.float32)
    field = xr.DataArray(noise, {"time": time, "lat": LATITUDES, "lon": LONGITUDES}, name="temperature")
    year, month = field.time.dt.year, field.time.dt.month
    zones = 28 - 50 * np.sin(np.radians(field.lat)) ** 2
    season = -np.cos(2 * np.pi * (month - 1) / 12) * field.lat / 6
    trend = 0.01 * (year - YEARS[0]) * (1 + (field.lat / 45).clip(min=0))
    weather = xr.DataArray(np.random.default_rng(0).normal(0, 0.15, len(YEARS)), {"year": YEARS}, dims="year")
    return field + (zones + season + trend + weather.sel(year=year)).astype(np.float32)


# %%
# The field is needed twice: for the mean of each calendar month, and for the differences from it. ``persist`` keeps it
# on the workers. ``compute`` returns futures of xarray objects. With ``backend="sync"`` the same program runs serially.


def analyse(backend):
    """Return the anomaly of each year and the map of the last ten years."""
    with Executor(2, backend=backend) as ex:
        field = ex.persist(make_field())
        months = field.coarsen(time=12).construct(time=("year", "month")).assign_coords(year=list(YEARS))
        anomaly = months - months.mean("year")
        stripes = anomaly.weighted(np.cos(np.radians(anomaly.lat))).mean(["month", "lat", "lon"])
        decade = anomaly.sel(year=slice(2010, None)).mean(["year", "month"])
        return ex.gather(ex.compute(stripes, decade))


start = time.perf_counter()
analyse("sync")
serial = time.perf_counter() - start
start = time.perf_counter()
stripes, decade = analyse("processes")
parallel = time.perf_counter() - start
print(f"{serial:.1f} s serially, {parallel:.1f} s with two workers: {serial / parallel:.1f} times as fast")
print(f"from {stripes[0]:+.2f} to {stripes[-1]:+.2f} degrees")

# %%
# One stripe for each year, and the map of the last ten years.

figure, (top, bottom) = plt.subplots(2, figsize=(7, 5), layout="constrained", height_ratios=[1, 2])
top.imshow([stripes], aspect="auto", cmap="RdBu_r", vmin=-1.2, vmax=1.2, extent=(YEARS[0], YEARS[-1] + 1, 0, 1))
top.set(yticks=[], title="anomaly of each year")
drawn = bottom.pcolormesh(decade.lon, decade.lat, decade, cmap="RdBu_r", vmin=-2, vmax=2)
bottom.set(xlabel="longitude (°)", ylabel="latitude (°)", title="anomaly of the last ten years")
figure.colorbar(drawn, ax=bottom, label="°C")
plt.show()
