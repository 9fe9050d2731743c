"""Generates a script in which CPython's own tests of ``concurrent.futures`` and what they submit are ``__main__``.

The installed test package has its functions and classes in modules that workers can import. Users' are in the script.
So this concatenates the sources of these modules: without their imports of each other, without the calls that make test
classes, and with ``futures`` as ``shim`` has it. The script then makes the test classes as ``test_conformance`` does.

Does not cover: tests of threads and of futures, which send nothing anywhere.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from test.test_concurrent_futures import (
    executor,
    test_as_completed,
    test_deadlock,
    test_init,
    test_process_pool,
    test_shutdown,
    test_wait,
    util,
)

MODULES = (
    util,
    executor,
    test_process_pool,
    test_shutdown,
    test_init,
    test_wait,
    test_as_completed,
    test_deadlock,
)
#: Mixins of tests, and those of executors, in the script's names.
TESTS = (
    "ProcessPoolExecutorTest",
    "ProcessPoolShutdownTest",
    "InitializerMixin",
    "FailingInitializerMixin",
    "WaitTests",
    "AsCompletedTests",
    "ExecutorDeadlockTest",
)
STARTS = ("OwnStart", "Fork", "Spawn", "Forkserver")
FUTURES = "from concurrent import futures"
# Decorates tests from Python 3.15 on, and holds a generator: a class that has one in it cannot be sent by value.
SILENCER = re.compile(r"^ +@warnings_helper\.ignore_\w+\(\)\n", re.MULTILINE)
SCRIPT_HELPER = "from test.support.script_helper import assert_python_ok"

HEAD = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import deviations
import shim
futures = shim.OUR_POOLS
"""

# Tests hand scripts to `python -c`, which import one function. By our own start and by fork it may be their own.
ASSERT_PYTHON_OK = """
def assert_python_ok(*args, **env_vars):
    imported = "from test.test_concurrent_futures.test_shutdown import sleep_and_print"
    own = "def sleep_and_print(t, msg): __import__('time').sleep(t); print(msg, flush=True)"
    if not any("'spawn'" in arg or "'forkserver'" in arg for arg in args):
        args = [arg.replace(imported, own) for arg in args]
    return shim.assert_python_ok(*args, **env_vars)
"""

TAIL = f"""
class ProcessPoolOwnStartMixin(shim.OwnStartMixin, ExecutorMixin):
    pass


for _mixin in ({", ".join(TESTS)}):
    for _start in {STARTS!r}:
        _made = {{"__name__": __name__}}
        _executor_mixin = globals()[f"ProcessPool{{_start}}Mixin"]
        create_executor_tests(_made, _mixin, executor_mixins=(_executor_mixin,))
        del _made["__name__"]
        ((_name, _class),) = _made.items()
        deviations.replace(_class, _mixin, getattr(shim, _executor_mixin.__name__))
        globals()[_name] = _class


if __name__ == "__main__":
    unittest.main()
"""


def class_name(start: str, test: str) -> str:
    """The name that ``create_executor_tests`` gives to a class of tests."""
    for ending in ("Mixin", "Tests", "Test"):
        if test.endswith(ending):
            return f"ProcessPool{start}{test.removesuffix(ending)}Test"
    raise ValueError(f"no such tests: {test!r}")


def generate() -> str:
    """The text of the script."""
    return "\n".join([HEAD, *(part for module in MODULES for part in _statements(inspect.getsource(module))), TAIL])


def _statements(source: str) -> Iterator[str]:
    """The statements of a module that the script takes over."""
    for node in ast.parse(source).body:
        text = "\n".join(source.splitlines()[_first_line(node) - 1 : node.end_lineno])
        if text == SCRIPT_HELPER:
            yield ASSERT_PYTHON_OK
        elif not (
            text == FUTURES
            or (isinstance(node, ast.ImportFrom) and node.level)
            or text.startswith(("create_executor_tests(", "if __name__"))
        ):
            yield SILENCER.sub("", text)


def _first_line(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])
