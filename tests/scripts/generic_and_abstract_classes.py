"""Generic classes, type variables, abstract base classes with ``register``, protocols."""

# contexts: default fork spawn tcp
# modes: file -c

from abc import ABC, abstractmethod
from concurrent.futures import ProcessPoolExecutor
from typing import Generic, Protocol, TypeVar, runtime_checkable

CONTEXT = None
T = TypeVar("T")
Number = TypeVar("Number", int, float)


class Stack(Generic[T]):
    def __init__(self, *items: T) -> None:
        self.items = list(items)

    def push(self, item: T) -> "Stack[T]":
        self.items.append(item)
        return self


class IntStack(Stack[int]):
    pass


class Animal(ABC):
    @abstractmethod
    def sound(self): ...

    @classmethod
    def __subclasshook__(cls, other):
        return True if hasattr(other, "barks") else NotImplemented


class Cow(Animal):
    def sound(self):
        return "moo"


class Robot:
    def sound(self):
        return "beep"


class Barking:
    barks = True


Animal.register(Robot)


@runtime_checkable
class Sounding(Protocol):
    def sound(self): ...


def check(thing):
    return isinstance(thing, Animal), isinstance(thing, Sounding), issubclass(type(thing), Animal)


def abstract():
    try:
        return Animal()
    except TypeError:
        return "abstract"


def push(stack, item):
    return stack.push(item)


def names():
    return T.__name__, Stack[int] is Stack[int], Stack.__parameters__ == (T,), IntStack.__orig_bases__ == (Stack[int],)


def first(xs: list[Number]) -> Number:
    return xs[0]


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        for thing in (Cow(), Robot(), Barking(), 1):
            print(pool.submit(check, thing).result())
        print(pool.submit(abstract).result())
        stack = pool.submit(push, Stack("a"), "b").result()
        print(type(stack) is Stack, stack.items)
        stack = pool.submit(push, IntStack(1), 2).result()
        print(type(stack) is IntStack, stack.items, isinstance(stack, Stack))
        print(pool.submit(names).result())
        print(pool.submit(first, [1.5]).result())
        print(pool.submit(check, pool.submit(Cow).result()).result())
        print(isinstance(pool.submit(Robot).result(), Animal))
