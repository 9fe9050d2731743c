"""What comes back is an instance of the caller's classes, what arrives is one of the worker's, whatever it lies in."""

# contexts: default fork spawn tcp
# modes: file -c stdin ipython

from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


# %%
class Thing:
    def __init__(self, name="thing"):
        self.name = name

    def __eq__(self, other):
        return isinstance(other, Thing) and self.name == other.name

    def __hash__(self):
        return hash(self.name)


class Sub(Thing, list):
    pass


class Holder(dict):
    def first(self):
        return next(iter(self.values()))


def check(*things):
    return [isinstance(thing, Thing) for thing in things], things


def wrap(thing):
    return Holder(a=thing, b=[thing, {thing}, (thing,)])


def classes():
    return Thing, Sub, [Holder], {"check": check}


# %%
if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        known, things = pool.submit(check, Thing(), Sub(), Thing, None).result()
        print(known, [type(thing).__name__ for thing in things])
        print(isinstance(things[0], Thing), type(things[1]) is Sub, things[2] is Thing)
        holder = pool.submit(wrap, Thing("x")).result()
        print(type(holder) is Holder, type(holder.first()) is Thing, holder["b"][0] is holder.first())
        print(Thing("x") in holder["b"][1], holder["b"][2][0] == Thing("x"))
        thing, sub, (holder_class,), functions = pool.submit(classes).result()
        print(thing is Thing, sub is Sub, holder_class is Holder, functions["check"] is check)
        print(isinstance(pool.submit(Thing).result(), Thing), pool.submit(check, holder.first()).result()[0])
