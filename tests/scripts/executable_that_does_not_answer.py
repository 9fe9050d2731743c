"""``sys.executable`` that is no Python: an error, within seconds, and nothing that runs on."""

# slow: an answer may take 15 s

import os
import sys
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor


def attempt(program):
    with open("program", "w") as file:
        file.write(f"#!/bin/sh\n{program}\n")
    os.chmod("program", 0o755)
    sys.executable = os.path.abspath("program")
    pool = ProcessPoolExecutor(1)
    try:
        print(pool.submit(abs, -1).result(30))
    except (BrokenExecutor, OSError, RuntimeError) as error:
        print("an error", not isinstance(error, TimeoutError), "program" in str(error))
    pool.shutdown()


if __name__ == "__main__":
    attempt("exit 3")
    attempt("exec sleep 100")

# expected:
# an error True True
# an error True True
