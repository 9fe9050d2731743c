"""
Warming stripes from a field that stays on the workers
======================================================

Each year of an invented temperature field is made on a worker and stays there. The mean over all years and the
anomalies are tasks on these futures; only a map and one number for each year come back.
"""

import matplotlib.pyplot as plt
import numpy as np

from futures_cluster import Executor

YEARS = range(1960, 2020)
LATITUDES, LONGITUDES = np.linspace(-88, 88, 45), np.linspace(0, 356, 90)


def make_year(year):
    """Make the temperatures of one year, 12 x 45 x 90: seasons, a trend, and noise."""
    rng = np.random.default_rng(year)
    season = -np.cos(2 * np.pi * np.arange(12) / 12)[:, None, None] * (LATITUDES / 6)[None, :, None]
    zonal = (28 - 50 * np.sin(np.radians(LATITUDES)) ** 2)[None, :, None]
    trend = 0.02 * (year - YEARS[0]) * (1 + np.clip(LATITUDES / 45, 0, None))[None, :, None]
    return season + zonal + trend + rng.normal(0, 1.5, (12, 45, 90)) + rng.normal(0, 0.15)


def add(one, two):
    return one + two


def anomaly(field, total):
    """Return the map of the difference of one year from the mean of all."""
    return (field - total / len(YEARS)).mean(axis=0)


def global_mean(field):
    return float(np.average(field.mean(axis=1), weights=np.cos(np.radians(LATITUDES))))


def mean(fields):
    return np.mean(fields, axis=0)


# %%
# Sums are added in pairs, a tree of tasks. Nothing waits for anything but its own inputs.

with Executor(2) as ex:
    fields = [ex.submit(make_year, year) for year in YEARS]
    sums = list(fields)
    while len(sums) > 1:
        pairs = [ex.submit(add, *pair) for pair in zip(sums[::2], sums[1::2])]
        sums = pairs + sums[len(pairs) * 2 :]
    anomalies = [ex.submit(anomaly, field, sums[0]) for field in fields]
    stripes = ex.gather([ex.submit(global_mean, each) for each in anomalies])
    last_decade = ex.submit(mean, anomalies[-10:]).result()
print(f"from {stripes[0]:+.2f} to {stripes[-1]:+.2f} degrees")

# %%
# One stripe for each year, and the map of the last ten years.

figure, (top, bottom) = plt.subplots(2, figsize=(7, 5), layout="constrained", height_ratios=[1, 2])
top.imshow([stripes], aspect="auto", cmap="RdBu_r", vmin=-1, vmax=1, extent=(YEARS[0], YEARS[-1], 0, 1))
top.set(yticks=[], title="anomaly of each year")
drawn = bottom.pcolormesh(LONGITUDES, LATITUDES, last_decade, cmap="RdBu_r", vmin=-2, vmax=2)
bottom.set(xlabel="longitude", ylabel="latitude", title="anomaly of the last ten years")
figure.colorbar(drawn, ax=bottom)
plt.show()
