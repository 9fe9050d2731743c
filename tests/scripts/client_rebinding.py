"""What the script rebinds between two submits, later tasks see; what a task has set stays for all other names."""

# modes: file -c stdin ipython

from concurrent.futures import ProcessPoolExecutor

# %%
rate = 2
touched = "nothing"


def price(x):
    return rate * x


def total(xs):
    return sum(price(x) for x in xs)


def touch(value):
    global touched
    before, touched = touched, value
    return before


# %%
if __name__ == "__main__":
    pool = ProcessPoolExecutor(1)
    print(pool.submit(price, 10).result(), pool.submit(total, [1, 2]).result())
    print(pool.submit(touch, "by a task").result())

# %%
if __name__ == "__main__":
    rate = 3
    print(pool.submit(price, 10).result(), pool.submit(total, [1, 2]).result())
    print(pool.submit(touch, "again").result())

# %%
if __name__ == "__main__":
    touched = "by the client"
    print(pool.submit(touch, "last").result(), pool.submit(touch, "").result())
    pool.shutdown()

# expected:
# 20 6
# nothing
# 30 9
# by a task
# by the client last
