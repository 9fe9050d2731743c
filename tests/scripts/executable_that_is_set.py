"""``multiprocessing.set_executable`` says which Python starts workers, where ``sys.executable`` is another program."""

# contexts: default fork spawn

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


def work(x):
    return x + 1


if __name__ == "__main__":
    multiprocessing.set_executable(sys.executable)
    sys.executable = "/nowhere/program"
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(list(pool.map(work, range(3))))
