"""Filters of warnings that the script sets decide in tasks, too: ignored, or raised as errors."""

# contexts: default fork
# modes: file -c
# compare: stdout exit stderr

import warnings
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


def ignored(x):
    warnings.warn("ignored", FutureWarning, stacklevel=1)
    return x


def strict():
    warnings.warn("an error", RuntimeWarning, stacklevel=1)


if __name__ == "__main__":
    warnings.simplefilter("ignore", FutureWarning)
    warnings.simplefilter("error", RuntimeWarning)
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(list(pool.map(ignored, [1, 2])))
        print(repr(pool.submit(strict).exception()))
