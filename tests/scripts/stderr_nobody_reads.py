"""A pipe for stderr that its reader leaves alone does not stop the tasks."""

import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor


def noisy(n):
    for _ in range(10):
        sys.stderr.write("x" * 100_000 + "\n")
    return n


if __name__ == "__main__":
    if "child" in sys.argv:
        with ProcessPoolExecutor(1) as pool:
            print(list(pool.map(noisy, range(3))), flush=True)
        print("done", flush=True)
    else:
        command = [sys.executable, __file__, "child"]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        print(child.stdout.readline(), child.stdout.readline(), sep="", end="")
        child.stderr.close()
        child.stdout.close()
        child.wait()

# expected:
# [0, 1, 2]
# done
