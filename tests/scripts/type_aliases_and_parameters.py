"""What describes types in the script, which pickles as the name that it has there."""

# contexts: default fork spawn forkserver tcp
# modes: file -c stdin ipython module
# python: >=3.12

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Generic, NamedTuple, ParamSpec, TypeVar, TypeVarTuple, get_args

if TYPE_CHECKING:
    from decimal import Decimal

CONTEXT = None
P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")
type Numbers = list[int]
type JSON = dict[str, JSON] | list[JSON] | str | None
type Tree[X] = dict[str, Tree[X]] | X
type Tuples[*Xs] = tuple[*Xs] | list[Tuples[*Xs]]
type Handler[**Q, R] = Callable[Q, R] | list[Handler[Q, R]]
type Odd = list[Even]
type Even = dict[str, Odd]
type Number = Decimal | int
ALIASES = [Numbers, JSON, Tree, Tuples, Handler, Odd, Even]


# %%
class Box[X, *Xs, **Q]:
    """Generic, by the new syntax."""


class Bounded[X: Decimal, Y: (Decimal, str)]:
    value: X


class Node[X: Node]:
    """Its parameter refers to itself."""


class Pair[X](NamedTuple):
    first: X
    second: list[X]


class OldPair(NamedTuple, Generic[T]):  # noqa: UP046
    first: T


def bounded[X: Decimal](x: X, y: Number = 1) -> Number:
    return x + y


def not_evaluated():
    try:
        return Number.__value__
    except NameError as error:
        return str(error)


def pairs():
    return Pair(1, [2]), OldPair(3), Pair[int], repr(Pair.__orig_bases__[1]), Pair._fields


def own_parameters(parameters):
    return [Box.__type_params__.index(each) for each in parameters]


def names(*args: JSON) -> Tree[int]:
    return [P, T, Ts, *ALIASES, Tree[int], Box[Numbers, int, str, [int]]]


def described():
    return [(repr(alias), repr(alias.__value__), repr(alias.__type_params__)) for alias in ALIASES]


def refers_to_itself():
    (parameter,) = Tree.__type_params__
    inner, last = get_args(Tree.__value__)
    return (
        get_args(inner) == (str, Tree[parameter]),
        last is parameter,
        get_args(Odd.__value__)[0] is Even,
        get_args(Even.__value__)[1] is Odd,
        JSON.__value__ == dict[str, JSON] | list[JSON] | str | None,
    )


def same(numbers, tree, parameters):
    return numbers is Numbers, tree is Tree, parameters is P


def back(x):
    return x


# %%
if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        for found, own in zip(pool.submit(names).result(), names(), strict=True):
            print(found, found == own, found.__module__ == __name__)
        print(pool.submit(described).result() == described())
        print(pool.submit(refers_to_itself).result())
        print(pool.submit(bounded, 1).result(), pool.submit(not_evaluated).result())
        print(type(pool.submit(back, Node()).result()) is Node, pool.submit(back, Node).result() is Node)
        print(pool.submit(back, Bounded()).result().__class__ is Bounded, pool.submit(back, Number).result() is Number)
        print(pool.submit(pairs).result() == pairs(), pool.submit(back, Pair(1, [])).result() == Pair(1, []))
        print(pool.submit(same, Numbers, Tree, P).result())
        for own in (P, T, Ts, *ALIASES):
            found, again = pool.submit(back, [own, own]).result()
            print(found is own, again is own)
        print(pool.submit(names, Numbers, P).result() == names())
