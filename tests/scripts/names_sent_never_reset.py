"""Functions that are sent alternately, and all refer to the same globals, never reset what tasks have set."""

# contexts: default fork spawn tcp
# modes: file stdin

from concurrent.futures import ProcessPoolExecutor

CONTEXT = None
shared = ["of the script"]
mode = "slow"


def one(x):
    shared.append(x)
    return list(shared), mode


def two(x):
    global mode
    mode = x
    return list(shared), mode


def three():
    return list(shared), mode, helper()


def helper():
    return len(shared), mode


class Reader:
    def read(self):
        return list(shared), mode


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(pool.submit(one, "a").result())
        print(pool.submit(two, "fast").result())
        print(pool.submit(three).result())
        print(pool.submit(one, "b").result())
        print(pool.submit(Reader().read).result())
        print(pool.submit(two, "faster").result())
        print(pool.submit(helper).result())
        print(pool.submit(one, "c").result())
        print(pool.submit(three).result())
    print(shared, mode)
