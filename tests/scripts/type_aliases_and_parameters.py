"""What describes types in the script, which pickles as the name that it has there."""

# contexts: default fork spawn forkserver tcp
# modes: file -c stdin ipython module
# python: >=3.12

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import ParamSpec, TypeVar, TypeVarTuple, get_args

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
ALIASES = [Numbers, JSON, Tree, Tuples, Handler, Odd, Even]


# %%
class Box[X, *Xs, **Q]:
    """Generic, by the new syntax."""


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
        print(pool.submit(same, Numbers, Tree, P).result())
        for own in (P, T, Ts, *ALIASES):
            found, again = pool.submit(back, [own, own]).result()
            print(found is own, again is own)
        print(pool.submit(names, Numbers, P).result() == names())
