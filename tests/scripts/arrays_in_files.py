"""Globals that are arrays in files: tasks write to the files, and take no copy of what they read."""

# contexts: default fork tcp
# modes: file stdin
# needs: numpy

import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

CONTEXT = None
FOLDER = tempfile.TemporaryDirectory()
PATH = Path(FOLDER.name) / "out"
OUT = np.memmap(PATH, mode="w+", dtype="f8", shape=(20, 3))
COLUMN = OUT[:, 1]
RESULTS = {"column": np.asarray(OUT)[:, 2]}


class Sink:
    array = OUT[::-1]


def write(i):
    OUT[i, 0] = i + 1


def write_column(i):
    COLUMN[i] = -i


def write_inside(i):
    RESULTS["column"][i] += 0.5


def write_attribute(i):
    Sink.array[i, 2] += 1


def read():
    return OUT.sum(), COLUMN.sum(), type(OUT).__name__, OUT.mode in ("w+", "r+")


if __name__ == "__main__":
    with ProcessPoolExecutor(2, mp_context=CONTEXT) as pool:
        for task in (write, write_column, write_inside, write_attribute):
            list(pool.map(task, range(20)))
            print(OUT.sum(axis=0), np.fromfile(PATH).sum())
        print(pool.submit(read).result())
        OUT[0, 0] = 100
        print(pool.submit(read).result())
    FOLDER.cleanup()
