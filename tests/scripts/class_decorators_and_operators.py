"""Decorated classes, overloaded operators, descriptors, callable instances."""

# contexts: default fork spawn tcp
# modes: file -c

import functools
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None
REGISTERED = {}


def register(cls):
    REGISTERED[cls.__name__] = cls
    cls.registered = True
    return cls


class Positive:
    def __set_name__(self, owner, name):
        self.name = "_" + name

    def __get__(self, instance, owner):
        return self if instance is None else getattr(instance, self.name)

    def __set__(self, instance, value):
        if value < 0:
            raise ValueError(f"{self.name} must be positive, got {value}")
        setattr(instance, self.name, value)


@register
@functools.total_ordering
class Money:
    amount = Positive()

    def __init__(self, amount):
        self.amount = amount

    def __add__(self, other):
        return Money(self.amount + getattr(other, "amount", other))

    __radd__ = __add__

    def __eq__(self, other):
        return isinstance(other, Money) and self.amount == other.amount

    def __lt__(self, other):
        return self.amount < other.amount

    def __hash__(self):
        return hash(self.amount)

    def __getitem__(self, rate):
        return self.amount * rate

    def __call__(self, x):
        return self + x

    def __repr__(self):
        return f"Money({self.amount})"

    def __bool__(self):
        return self.amount > 0

    def __iter__(self):
        return iter([self.amount])


def total(amounts):
    return sum(amounts)


def largest(amounts):
    return max(amounts), REGISTERED["Money"] is Money, Money.registered, isinstance(amounts[0], Money)


def negative():
    return Money(-1)


if __name__ == "__main__":
    amounts = [Money(n) for n in (1, 5, 3)]
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(pool.submit(total, amounts).result() == Money(9))
        print(pool.submit(largest, amounts).result())
        print(list(pool.map(Money(10), [1, Money(2)])))
        print(pool.submit(sorted, amounts).result())
        print(pool.submit(negative).exception())
        print(pool.submit(set, [Money(1), Money(1)]).result() == {Money(1)})
        print(pool.submit(list, Money(4)).result(), bool(pool.submit(Money, 0).result()))
