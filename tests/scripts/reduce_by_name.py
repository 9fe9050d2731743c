"""Objects whose ``__reduce__`` gives a name are found under it, on either side."""

# contexts: default fork spawn forkserver tcp
# modes: file -c stdin

from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


class Sentinel:
    def __init__(self, name):
        self.name = name

    def __reduce__(self):
        return self.name

    def __repr__(self):
        return f"<{self.name}>"


NOTHING = Sentinel("NOTHING")
UNSET = Sentinel("UNSET")


def is_nothing(x, y=NOTHING):
    return x is NOTHING, y is NOTHING, x


def give(which):
    return {"nothing": NOTHING, "unset": UNSET}[which]


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(pool.submit(is_nothing, NOTHING).result())
        print(pool.submit(is_nothing, UNSET, UNSET).result())
        print(pool.submit(give, "unset").result() is UNSET)
        print(pool.submit(is_nothing, [NOTHING]).result()[2][0] is NOTHING)
