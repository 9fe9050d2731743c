"""``super()``, ``__class__``, private names and class variables that refer to the class itself."""

# contexts: default fork spawn tcp
# modes: file -c

from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


class Base:
    def __init__(self, x):
        self.x = x
        self.__hidden = x

    def value(self):
        return self.x

    def hidden(self):
        return self.__hidden

    @classmethod
    def make(cls, x):
        return cls(x)

    def __init_subclass__(cls):
        cls.depth = getattr(cls, "depth", 0) + 1


class Left(Base):
    def value(self):
        return "left", super().value(), __class__.__name__


class Right(Base):
    def value(self):
        return "right", super().value()


class Both(Left, Right):
    instance = None

    def value(self):
        return "both", super().value(), super(Left, self).value()

    @classmethod
    def make(cls, x):
        made = super().make(x)
        cls.instance = made
        return made

    @staticmethod
    def is_kept(other):
        return Both.instance is other


Both.first = Both(0)


def use(x):
    both = Both.make(x)
    return both.value(), both.hidden(), Both.is_kept(both), [cls.__name__ for cls in Both.__mro__], Both.depth


def first():
    return type(Both.first) is Both, Both.first.value()


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(pool.submit(use, 5).result())
        print(pool.submit(first).result())
        made = pool.submit(Both.make, 6).result()
        print(type(made) is Both, made.value())
        print(pool.submit(Both(7).value).result())
        print(pool.submit(Base.value, Right(8)).result())
