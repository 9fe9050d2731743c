"""A frozen program (``sys.frozen``) is not started again and again: ``freeze_support`` or an error."""

import os
import sys
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from multiprocessing.spawn import freeze_support  # PyInstaller makes that of multiprocessing do the same

if __name__ == "__main__":
    sys.frozen = True
    freeze_support()
    with open("runs", "a") as file:
        print("run", file=file)
    if os.path.getsize("runs") > 40:
        os._exit(1)
    with open("frozen", "w") as file:
        file.write(f'#!/bin/sh\nexec {sys.executable} {os.path.abspath(__file__)} "$@"\n')
    os.chmod("frozen", 0o755)
    sys.executable = os.path.abspath("frozen")
    pool = ProcessPoolExecutor(1)
    try:
        print("worked", pool.submit(abs, -1).result(30) == 1)
    except (BrokenExecutor, OSError, RuntimeError) as error:
        print("worked", "frozen" in str(error))
    pool.shutdown()
    print(open("runs").read().count("run"))

# expected:
# worked True
# 1
