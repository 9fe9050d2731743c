"""Random programs of tasks give the same answers on every engine.

``sync``, which runs each call at submit, is the oracle.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from futures_cluster import Executor, current_executor
from futures_cluster.errors import DuplicateKey


def gather(*args: Any, **kwargs: Any) -> Any:
    return args, sorted(kwargs.items())


def digest(*args: Any, **kwargs: Any) -> str:
    return f"{args} {sorted(kwargs.items())}"[:200]


def large(*args: Any, **kwargs: Any) -> bytes:
    return digest(*args, **kwargs).encode() * 2000


def fail_sometimes(*args: Any, **kwargs: Any) -> str:
    text = digest(*args, **kwargs)
    if len(text) % 3 == 0:
        raise ValueError(text)
    return text


def nested(*args: Any, **kwargs: Any) -> Any:
    ex = current_executor()
    one, two = ex.submit(digest, *args), ex.submit(digest, **kwargs)
    return ex.submit(gather, one, [two]).result()


def close_over(number: int) -> Any:
    return lambda *args, **kwargs: (number, len(args), sorted(kwargs))


FUNCTIONS: list[Any] = [gather, digest, large, fail_sometimes, nested, close_over(1), close_over(2)]

# A reference to the result of an earlier call, by its number; taken modulo the number of calls so far.
earlier = st.builds(lambda n: ("earlier", n), st.integers(0, 30))
values = st.integers() | st.text(max_size=3) | st.none() | earlier
arguments = st.recursive(
    values, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=2), x, max_size=2), max_leaves=5
)
calls = st.tuples(
    st.integers(0, len(FUNCTIONS) - 1),
    st.lists(arguments, max_size=3),
    st.dictionaries(st.sampled_from(["self", "fn", "key", "timeout", "x"]), arguments, max_size=2),
    st.integers(-3, 3),
)
programs = st.lists(calls, min_size=1, max_size=15)


def put_futures(obj: Any, futures: list[Any]) -> Any:
    if type(obj) is tuple:
        return futures[obj[1] % len(futures)] if futures else None
    if type(obj) is list:
        return [put_futures(item, futures) for item in obj]
    if type(obj) is dict:
        return {key: put_futures(value, futures) for key, value in obj.items()}
    return obj


def inputs(obj: Any, number: int) -> list[int]:
    """The earlier calls whose results the arguments of call ``number`` take."""
    if type(obj) is tuple:
        return [obj[1] % number] if number else []
    if type(obj) is list:
        return [found for item in obj for found in inputs(item, number)]
    if type(obj) is dict:
        return [found for item in obj.values() for found in inputs(item, number)]
    return []


def run(ex: Executor, program: list[Any]) -> list[Any]:
    """What each call came to: ("result", value) or ("error", type, text)."""
    futures: list[Any] = []
    for function, args, kwargs, priority in program:
        view = ex.with_options(priority=priority) if priority else ex
        args, kwargs = put_futures(args, futures), put_futures(kwargs, futures)
        futures.append(view.submit(FUNCTIONS[function], *args, **kwargs))
    outcomes: list[Any] = []
    for future in futures:
        error = future.exception(60)
        outcomes.append(("result", future.result(60)) if error is None else ("error", type(error), str(error)))
    return outcomes


def check_same(program: list[Any], outcomes: list[Any], expected: list[Any]) -> None:
    """The same outcomes; of several inputs that fail, whichever fails first is the one that a call fails with."""
    for number, (_, args, kwargs, _) in enumerate(program):
        failed = [outcomes[i] for i in inputs([args, kwargs], number) if outcomes[i][0] == "error"]
        assert outcomes[number] in (failed or [expected[number]])


@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_random_programs(backend: str) -> None:
    with Executor(2, backend=backend) as ex:

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        @given(programs)
        def check(program: list[Any]) -> None:
            with Executor(backend="sync") as oracle:
                expected = run(oracle, program)
            check_same(program, run(ex, program), expected)

        check()


@pytest.mark.parametrize("backend", ["sync", "threads", "processes"])
def test_a_chosen_key_is_the_key_of_a_pure_call_too(backend: str) -> None:
    with Executor(1, backend=backend) as ex:
        options = ex.with_options(pure=True, key="chosen")
        future = options.submit(pow, 2, 3)
        assert future.key == "chosen" and future.result() == 8
        with pytest.raises(DuplicateKey, match="chosen"):
            options.submit(pow, 2, 3)
