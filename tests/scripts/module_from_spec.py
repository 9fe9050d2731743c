"""Functions and classes of a module that was loaded by ``spec_from_file_location`` or made in memory."""

# contexts: default fork
# modes: file -c

import importlib.util
import sys
import types
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None
SOURCE = """
LIMIT = 5
class Item:
    def __init__(self, n):
        self.n = n
def double(item):
    return Item(helper(item.n))
def helper(n):
    return min(2 * n, LIMIT)
"""

if __name__ == "__main__":
    with open("plugin-1.py", "w") as file:
        file.write(SOURCE)
    spec = importlib.util.spec_from_file_location("loaded_apart", "plugin-1.py")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules["loaded_apart"] = loaded
    spec.loader.exec_module(loaded)
    made = sys.modules["made_in_memory"] = types.ModuleType("made_in_memory")
    exec(SOURCE, made.__dict__)
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        for module in (loaded, made):
            item = pool.submit(module.double, module.Item(2)).result()
            print(item.n, type(item) is module.Item, pool.submit(module.helper, 4).result())
