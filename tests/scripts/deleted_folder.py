"""A working folder that has been deleted: the tasks run, or the error says so."""

# contexts: default fork

import os
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None

if __name__ == "__main__":
    os.mkdir("gone")
    os.chdir("gone")
    os.rmdir("../gone")
    pool = ProcessPoolExecutor(1, mp_context=CONTEXT)
    try:
        print(pool.submit(abs, -1).result() == 1)
    except Exception as error:
        print("folder" in str(error) or "directory" in str(error))
    pool.shutdown()
