"""Members of enumerations are the same objects after the way to a worker and back."""

# contexts: default fork spawn forkserver tcp
# modes: file -c stdin ipython

import enum
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


# %%
class Colour(enum.Enum):
    RED = 1
    GREEN = 2
    CRIMSON = 1

    def mixed(self):
        return Colour.GREEN if self is Colour.RED else Colour.RED


class Access(enum.IntFlag):
    READ = enum.auto()
    WRITE = enum.auto()


class Mode(enum.StrEnum):
    FAST = enum.auto()
    SLOW = "s"


class Planet(enum.Enum):
    EARTH = (5.9, 6.3)

    def __init__(self, mass, radius):
        self.mass = mass
        self.radius = radius


NAMES = {Colour.RED: "red", Colour.GREEN: "green"}


def look(colour):
    return colour is Colour.RED, NAMES[colour], colour.mixed(), Colour.CRIMSON is colour


def flags(access):
    return access | Access.WRITE, Access.READ in access, access is Access.READ


def use_mode(mode):
    return mode is Mode.FAST, f"{mode}", Mode("s") is Mode.SLOW, Planet.EARTH


# %%
if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        seen = pool.submit(look, Colour.RED).result()
        print(seen, seen[2] is Colour.GREEN)
        print(pool.submit(look, Colour.GREEN).result()[2] is Colour.RED)
        print(pool.submit(flags, Access.READ).result())
        seen = pool.submit(use_mode, Mode.FAST).result()
        print(seen, seen[3] is Planet.EARTH, seen[3].mass)
        print(pool.submit(Colour.RED.mixed).result() is Colour.GREEN)
        print(pool.submit(Colour, 2).result() is Colour.GREEN)
        print(list(pool.map(NAMES.get, Colour)))
