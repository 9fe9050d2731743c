"""The code under ``if __name__ == "__main__"`` runs in the script only; tasks see what it has defined."""

# contexts: default fork
# modes: file -c stdin

import os
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


def look():
    return os.path.exists("ran"), late_constant, late_function(2)


if __name__ == "__main__":
    with open("ran", "a") as file:
        print("main", file=file)
    late_constant = 5

    def late_function(x):
        return x + late_constant

    with ProcessPoolExecutor(2, mp_context=CONTEXT) as pool:
        print(pool.submit(look).result())
        print(pool.submit(late_function, 1).result())
    print(open("ran").read())
