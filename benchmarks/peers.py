"""Measures futures_cluster beside other executors in one run: ``python benchmarks/peers.py --help``.

Covered: ThreadPoolExecutor, ProcessPoolExecutor, loky, joblib, pebble, distributed and ray, each if it is
installed, each with two workers, each measured in a fresh process of its own, in turns over several rounds.
Not covered: more than one machine, Dask collections, tasks which really compute.

The functions here are those of a user's script: with ``--main`` they are measured in place of ``peerlib.tasks``'s.
This file stays this small because systems which spawn their workers import it again in each of them.
"""


def noop() -> None:
    """Nothing at all."""


def identity(x: int) -> int:
    """One small argument and one small result."""
    return x


if __name__ == "__main__":
    import sys

    from peerlib.driver import main

    sys.exit(main())
