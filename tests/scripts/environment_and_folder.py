"""Changes of ``os.environ``, the working folder and ``sys.path`` before the pool is made are there in tasks."""

# contexts: default fork spawn
# modes: file -c

import os
import sys
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


def look():
    import of_the_script

    return os.environ.get("OF_THE_SCRIPT"), os.path.basename(os.getcwd()), of_the_script.value


def change(value):
    os.environ["OF_A_TASK"] = value
    os.chdir("..")


def changed():
    return os.environ.get("OF_A_TASK"), "below" in os.listdir(".")


if __name__ == "__main__":
    os.mkdir("below")
    os.mkdir("modules")
    with open("modules/of_the_script.py", "w") as file:
        file.write("value = 17\n")
    sys.path.insert(0, os.path.abspath("modules"))
    os.environ["OF_THE_SCRIPT"] = "set"
    os.chdir("below")
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(pool.submit(look).result())
        pool.submit(change, "kept").result()
        print(pool.submit(changed).result())
    print(os.environ.get("OF_A_TASK"), os.path.basename(os.getcwd()))
