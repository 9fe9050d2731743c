"""What a notebook has beside functions: names of the kernel, ``display``, ``_``, magics, and a cell's own output."""

# modes: ipython

from concurrent.futures import ProcessPoolExecutor

pool = ProcessPoolExecutor(1)

# %%
40 + 2  # noqa: B018

# %%
answer = _  # noqa: F821


def look():
    return answer, __name__, "get_ipython" in globals()


def show(x):
    print("in the task", x, flush=True)
    return x


# %%
print(pool.submit(look).result()[:2])
print(pool.submit(lambda: answer + 1).result())

# %%
get_ipython().run_cell("print(pool.submit(show, 5).result())")  # noqa: F821

# %%
pool.shutdown()

# expected:
# (42, '__main__')
# 43
# in the task 5
# 5
