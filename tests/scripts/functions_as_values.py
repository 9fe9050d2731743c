"""Lambdas, closures and inner functions as tasks, arguments and results, which the standard library cannot pickle."""

# modes: file -c stdin module ipython

from concurrent.futures import ProcessPoolExecutor

# %%
base = 10


def adder(n):
    def add(x):
        return x + n + base

    return add


def compose(*functions):
    return lambda x: [function(x) for function in functions]


def counter():
    count = 0

    def step():
        nonlocal count
        count += 1
        return count

    return step


# %%
if __name__ == "__main__":
    with ProcessPoolExecutor(1) as pool:
        print(pool.submit(lambda x: x + base, 1).result())
        print(list(pool.map(adder(1), range(3))))
        print(pool.submit(adder, 5).result()(1))
        print(pool.submit(compose(adder(1), lambda x: -x), 2).result())
        step = pool.submit(counter).result()
        print(step(), step(), pool.submit(step).result(), step())
        local = {"f": adder}["f"](7)
        print(pool.submit(lambda f: f(1), local).result())

# expected:
# 11
# [11, 12, 13]
# 16
# [13, -2]
# 1 2 3 3
# 18
