"""
Testing a forecast on many time series
======================================

Does exponential smoothing forecast better than last year's values? A backtest answers: fit each series up to some
week, forecast the quarter after it, compare, and move on. The program is ordinary joblib code; one line runs it on
an executor.
"""

import time

import joblib
import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize

from futures_cluster import Executor

SERIES, WEEKS, YEAR, HORIZON = 80, 208, 52, 13


def make_series(seed):
    """Return the weekly sales of a product: a level that drifts, a season, and noise."""
    rng = np.random.default_rng(seed)
    level = 200 + np.cumsum(rng.normal(0.1, rng.uniform(0.5, 3), WEEKS))
    season = rng.uniform(0, 60) * np.sin(2 * np.pi * (np.arange(WEEKS) / YEAR + rng.random()))
    return level + season + rng.normal(0, rng.uniform(2, 8), WEEKS)


def smooth(parameters, values):
    """Return the errors of forecasts one week ahead, and the state at the end: Holt and Winters without a trend."""
    alpha, gamma = parameters
    level, season = float(values[:YEAR].mean()), (values[:YEAR] - values[:YEAR].mean()).tolist()
    errors = []
    for week, value in enumerate(values[YEAR:].tolist(), YEAR):
        error = value - level - season[week % YEAR]
        level += alpha * error
        season[week % YEAR] += gamma * error
        errors.append(error)
    return np.array(errors), level, season


def forecast(values):
    """Fit the two parameters, and return the forecast of the next weeks."""
    fit = minimize(
        lambda parameters: np.mean(smooth(parameters, values)[0] ** 2),
        (0.3, 0.1),
        method="Nelder-Mead",
        bounds=[(0, 1), (0, 1)],
        options={"maxiter": 40},
    )
    _, level, season = smooth(fit.x, values)
    return np.array([level + season[week % YEAR] for week in range(len(values), len(values) + HORIZON)])


def backtest(values):
    """Return the mean absolute errors of both methods in each week of the horizon."""
    errors = []
    for end in range(WEEKS - 4 * HORIZON, WEEKS - HORIZON + 1, HORIZON):
        truth, last_year = values[end : end + HORIZON], values[end - YEAR : end - YEAR + HORIZON]
        errors.append((abs(forecast(values[:end]) - truth), abs(last_year - truth)))
    return np.mean(errors, axis=0)


# %%
# ``parallel_config`` makes the executor joblib's backend; ``n_jobs`` is the number of series that run at a time.

series = [make_series(seed) for seed in range(SERIES)]
start = time.perf_counter()
alone = joblib.Parallel(n_jobs=1)(joblib.delayed(backtest)(values) for values in series)
serial = time.perf_counter() - start

start = time.perf_counter()
with Executor(2) as ex, joblib.parallel_config(backend="futures_cluster", executor=ex):
    errors = joblib.Parallel(n_jobs=2)(joblib.delayed(backtest)(values) for values in series)
parallel = time.perf_counter() - start
assert np.array_equal(errors, alone)
print(f"{serial:.1f} s serially, {parallel:.1f} s with two workers: {serial / parallel:.1f} times as fast")

# %%
# Left: the last quarter of a product for which smoothing is much better. Right: the mean errors of all products.
# Smoothing is better above the dashed line.

smoothing, naive = np.mean(errors, axis=2).T
print(f"smoothing is better for {np.mean(smoothing < naive):.0%} of the products")
example, end = series[np.argsort(naive / smoothing)[9 * SERIES // 10]], WEEKS - HORIZON
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained")
left.plot(range(end - YEAR, WEEKS), example[end - YEAR :], color="0.6", label="sales")
left.plot(range(end, WEEKS), example[end - YEAR : WEEKS - YEAR], color="C1", label="last year's values")
left.plot(range(end, WEEKS), forecast(example[:end]), color="C0", label="smoothing")
left.set(xlabel="week", ylabel="pieces sold")
left.legend(frameon=False)
right.loglog(smoothing, naive, ".")
right.axline((10, 10), (20, 20), color="black", linewidth=0.8, linestyle="--")
right.set(xlabel="error of smoothing (pieces)", ylabel="error of last year's values (pieces)")
right.set(xticks=(5, 10, 20), yticks=(5, 10, 20, 50), xticklabels=(5, 10, 20), yticklabels=(5, 10, 20, 50))
right.minorticks_off()
plt.show()
