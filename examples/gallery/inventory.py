"""
Choosing a policy by simulation
===============================

A warehouse orders goods up to a level when its stock falls below a threshold. Which pair of numbers costs least? A good
estimate takes hundreds of simulated years, and most policies do not deserve them: a task gives up as soon as its policy
is clearly worse than that of another task. A channel tells the tasks about each other while they run.
"""

import math
import time

import matplotlib.pyplot as plt
import numpy as np

from futures_cluster import Executor

BATCHES, YEARS = 25, 20  # a policy is simulated for at most 25 batches of 20 years
THRESHOLDS, LEVELS = range(25, 85, 5), range(60, 170, 10)
HOLDING, SHORTAGE, ORDER, DELAY = 1.0, 25.0, 90.0, 5  # costs per piece and day, per piece, per order; days


def simulate(threshold, level, seed):
    """Return the mean cost of a day in each of some simulated years."""
    demand = np.random.default_rng(seed).poisson(8, (365, YEARS))  # equal for all policies
    stock, coming = np.full(YEARS, level), np.zeros((DELAY, YEARS), int)
    costs = np.zeros(YEARS)
    for day in range(365):
        stock = stock + coming[day % DELAY]
        position = stock + coming.sum(axis=0) - coming[day % DELAY]
        orders = np.where(position < threshold, level - position, 0)
        coming[day % DELAY] = orders
        missing = np.maximum(demand[day] - stock, 0)
        stock = np.maximum(stock - demand[day], 0)
        costs += HOLDING * stock + SHORTAGE * missing + ORDER * (orders > 0)
    return costs / 365


def evaluate(bound, threshold, level):
    """Return the estimated cost of a policy and the number of years simulated."""
    costs = np.zeros(0)
    for seed in range(BATCHES):
        costs = np.append(costs, simulate(threshold, level, seed))
        error = 3 * costs.std() / math.sqrt(len(costs))
        lowest = next(iter(bound))
        if costs.mean() - error > lowest:
            break
        if costs.mean() + error < lowest:
            bound.put(costs.mean() + error)
    return costs.mean(), len(costs)


# %%
# The channel keeps one item: a bound on the cost of the best policy so far, which is three standard errors above its
# estimate. A task reads it after each batch of years, and lowers it if it can.


def search(workers):
    """Return the cost of each policy and the number of years spent on it, as arrays of thresholds x levels."""
    policies = [(threshold, level) for threshold in THRESHOLDS for level in LEVELS]
    order = np.random.default_rng(0).permutation(len(policies))  # finds a good policy early
    with Executor(workers) as ex:
        bound = ex.channel("bound", maxlen=1)
        bound.put(math.inf)
        results = np.array(ex.gather([ex.submit(evaluate, bound, *policies[n]) for n in order]))
    return results[np.argsort(order)].T.reshape(2, len(THRESHOLDS), len(LEVELS))


start = time.perf_counter()
search(1)
serial = time.perf_counter() - start
start = time.perf_counter()
costs, years = search(2)
parallel = time.perf_counter() - start
i, j = np.unravel_index(np.argmin(np.where(years == years.max(), costs, np.inf)), costs.shape)
print(f"order up to {LEVELS[j]} pieces below {THRESHOLDS[i]}: {costs[i, j]:.1f} a day")
print(f"{years.sum():.0f} years simulated, of {years.size * BATCHES * YEARS}")
print(f"{serial:.1f} s with one worker, {parallel:.1f} s with two: {serial / parallel:.1f} times as fast")

# %%
# Each square is a policy, and the star the best one. The simulation has spent most of its time in the valley of low
# costs. How much exactly depends on which task is first, and differs from run to run.

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained", sharey=True)
drawn = left.pcolormesh(LEVELS, THRESHOLDS, costs, vmax=1.5 * costs.min())
figure.colorbar(drawn, ax=left, label="cost per day", extend="max")
drawn = right.pcolormesh(LEVELS, THRESHOLDS, years)
figure.colorbar(drawn, ax=right, label="years simulated")
for axes in (left, right):
    axes.plot(LEVELS[j], THRESHOLDS[i], "*", color="C3", markersize=12)
    axes.set(xlabel="order up to (pieces)")
left.set(ylabel="when below (pieces)")
plt.show()
