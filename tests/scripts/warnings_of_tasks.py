"""Warnings of tasks: on stderr with file, line and source text, by the script's filters, and as errors."""

# contexts: default fork
# modes: file
# compare: stdout exit stderr

import warnings
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


class OwnWarning(UserWarning):
    pass


def work(x):
    warnings.warn(f"careful with {x}", OwnWarning, stacklevel=1)
    warnings.warn("ignored", FutureWarning, stacklevel=1)
    return x


def strict():
    warnings.warn("an error", RuntimeWarning, stacklevel=1)


if __name__ == "__main__":
    warnings.simplefilter("ignore", FutureWarning)
    warnings.simplefilter("error", RuntimeWarning)
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(list(pool.map(work, [1, 2])))
        print(repr(pool.submit(strict).exception()))
