"""Warnings of tasks are on stderr, with file, line and source text."""

# contexts: default fork spawn
# modes: file
# compare: stdout exit stderr

import warnings
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


class OwnWarning(UserWarning):
    pass


def work(x):
    warnings.warn(f"careful with {x}", OwnWarning, stacklevel=1)
    return x


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(list(pool.map(work, [1, 2])))
