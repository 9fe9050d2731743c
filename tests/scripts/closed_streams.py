"""Closed standard streams: workers start, and the file that got such a descriptor holds the script's data only."""

# contexts: default fork
# modes: closed-stdin closed-stdout closed-stderr closed-all
# compare: exit file

import logging
import sys
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


def work(x):
    print("noise")
    print("noise", file=sys.stderr)
    logging.getLogger("app").warning("noise")
    return x + 1


if __name__ == "__main__":
    with open("output.txt", "w") as file:
        with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
            print(list(pool.map(work, range(3))), file=file)
            print(pool.submit(work, "x").exception(), file=file)
    text = open("output.txt").read()
    with open("output.txt", "a") as file:
        print(text.count("\n"), file=file)
