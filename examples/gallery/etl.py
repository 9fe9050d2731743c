"""
From a database to Parquet files
================================

A shop keeps its orders in a database, as JSON texts with times in UTC. Each task reads a week, cleans it, and writes it
to a Parquet file. A Dask data frame then answers a question about all weeks: when do people buy?
"""

import json
import sqlite3
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import dask.dataframe as dd
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from futures_cluster import Executor

WEEKS, ORDERS = 12, 30_000  # in each week
ZONES = {"DE": "Europe/Berlin", "BR": "America/Sao_Paulo", "JP": "Asia/Tokyo"}
DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]


def make_orders(path):
    """Write the database. Customers buy in the evening of their own time; some orders come twice, some are broken."""
    rng, size = np.random.default_rng(0), WEEKS * ORDERS
    country = rng.choice(list(ZONES), size, p=[0.5, 0.3, 0.2])
    day = rng.choice(7 * WEEKS, size, p=np.tile([2, 2, 2, 2, 3, 5, 5], WEEKS) / 21 / WEEKS)
    local = pd.Timestamp("2026-01-05") + pd.to_timedelta(24 * day + rng.triangular(6, 20, 24, size), unit="h")
    utc = pd.Series("", range(size))
    for name, zone in ZONES.items():
        times = local[country == name].tz_localize(zone).tz_convert("UTC")
        utc[country == name] = times.strftime("%Y-%m-%dT%H:%M:%SZ")
    columns = (day // 7).tolist(), range(size), country, rng.gamma(2, 20, size).round(2), utc
    text = '{{"id": {}, "country": "{}", "price": {}, "time": "{}"}}'
    rows = [(week, text.format(*order)) for week, *order in zip(*columns)]
    rows += rows[::50] + [(week, '{"id": ') for week in range(WEEKS)]
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE orders (week INTEGER, text TEXT)")
        database.executemany("INSERT INTO orders VALUES (?, ?)", rows)
    database.close()


# %%
# A connection to a database does not travel. The ``initializer`` opens one in each worker, where the tasks find it.
# They return only numbers: the orders go from the database to the files without passing through the program.

connection = None


def connect(path):
    global connection
    connection = sqlite3.connect(path)


def convert(week, folder):
    """Write the orders of one week to a file, and return the numbers of rows: read, broken, and written."""
    texts = connection.execute("SELECT text FROM orders WHERE week = ?", [week]).fetchall()
    rows = []
    for (text,) in texts:
        with suppress(ValueError):
            rows.append(json.loads(text))
    orders = pd.DataFrame(rows).drop_duplicates("id")
    times = pd.to_datetime(orders.pop("time"))
    for country, zone in ZONES.items():
        mine = orders.country == country
        orders.loc[mine, "local"] = times[mine].dt.tz_convert(zone).dt.tz_localize(None)
    orders.sort_values("local").to_parquet(folder / f"{week:02}.parquet", index=False)
    return len(texts), len(texts) - len(rows), len(orders)


def run(workers, base, folder):
    """Convert all weeks, and return the numbers of rows and the revenue by weekday and hour."""
    with Executor(workers, initializer=connect, initargs=(base,)) as ex:
        counts = sum(np.array(each) for each in ex.map(convert, range(WEEKS), [folder] * WEEKS))
        orders = dd.read_parquet(folder, columns=["local", "price"])
        keys = [orders.local.dt.weekday.rename("day"), orders.local.dt.hour.rename("hour")]
        return counts, orders.price.groupby(keys).sum().compute(scheduler=ex)


# %%
# The time covers everything from the start of the workers, which import pandas and pyarrow, to the answer.

with tempfile.TemporaryDirectory() as folder:
    base = Path(folder, "orders.db")
    make_orders(base)
    times = []
    for workers in (1, 2):
        files = Path(folder, f"{workers}")
        files.mkdir()
        start = time.perf_counter()
        counts, revenue = run(workers, base, files)
        times.append(time.perf_counter() - start)
read, broken, written = counts
print(f"{read} rows read, {broken} broken, {read - broken - written} double, {written} written")
print(f"{times[0]:.1f} s with one worker, {times[1]:.1f} s with two: {times[0] / times[1]:.1f} times as fast")

# %%
# In UTC the evenings of three continents would fill the whole day. In local time they are one.

grid = revenue.unstack().reindex(index=range(7), columns=range(24)).fillna(0) / WEEKS / 1000
figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
drawn = axes.pcolormesh(range(25), range(8), grid)
axes.set(xlabel="local time (hour)", xticks=range(0, 25, 3), yticks=np.arange(7) + 0.5, yticklabels=DAYS, ylim=(7, 0))
figure.colorbar(drawn, ax=axes, label="revenue per hour\n(thousand euros)")
plt.show()
