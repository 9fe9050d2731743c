"""What tasks print is on the script's streams, all of it before the pool is gone."""

# contexts: default fork spawn
# modes: file -c module
# compare: stdout exit stderr

import os
import sys
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


def say(x):
    print("task", x, "ü", flush=True)
    print("error of", x, file=sys.stderr, flush=True)


def say_by_descriptor():
    os.write(1, b"by descriptor\n")
    os.write(2, b"error by descriptor\n")


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        list(pool.map(say, range(3)))
        pool.submit(say_by_descriptor).result()
    print("the end")
