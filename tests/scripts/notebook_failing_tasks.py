"""Failing tasks in cells end, and show the cell, the line and its text, as the traceback of a plain call does."""

# modes: ipython

import json
from concurrent.futures import ProcessPoolExecutor

pool = ProcessPoolExecutor(1)


# %%
def broken(x):
    y = x - 1
    return 1 / y


def outer(x):
    return [broken(x)]


# %%
# raises: JSONDecodeError
# shows: json.loads
# shows: Expecting property name enclosed in double quotes
pool.submit(json.loads, "{").result()

# %%
# raises: ZeroDivisionError
# shows: return 1 / y
# shows: return [broken(x)]
# shows: Cell In[2], line 3
# shows: Cell In[2], line 7
pool.submit(outer, 1).result()

# %%
# raises: ZeroDivisionError
# shows: return 1 / y
list(pool.map(broken, [3, 2, 1]))

# %%
import traceback

error = pool.submit(outer, 1).exception()
lines = "".join(traceback.format_exception(error)).splitlines()
print(lines[-1])
print([line.strip() for line in lines if "broken" in line and "return" in line])
pool.shutdown()

# expected:
# ZeroDivisionError: division by zero
# ['return [broken(x)]']
