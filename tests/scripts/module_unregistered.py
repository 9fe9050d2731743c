"""Functions of a module that is not in ``sys.modules``, and of code that was ``exec``ed apart."""

# modes: file -c stdin

import importlib.util
from concurrent.futures import ProcessPoolExecutor

SOURCE = """
LIMIT = 5
def double(n):
    return helper(n)
def helper(n):
    return min(2 * n, LIMIT)
"""

if __name__ == "__main__":
    with open("plugin-1.py", "w") as file:
        file.write(SOURCE)
    spec = importlib.util.spec_from_file_location("loaded_apart", "plugin-1.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    named = {"__name__": "nowhere"}
    exec(SOURCE, named)
    bare = {}
    exec(SOURCE, bare)
    with ProcessPoolExecutor(1) as pool:
        print(pool.submit(loaded.double, 2).result(), pool.submit(loaded.double, 9).result())
        print(pool.submit(named["double"], 2).result())
        print(pool.submit(bare["double"], 2).result())

# expected:
# 4 5
# 4
# 4
