"""CPython's own tests of ``concurrent.futures``, run on our executors and our future.

Covers: the tests of executors, ``as_completed``, ``wait``, shutting down, initializers, deadlocks and futures, on
threads and on processes by our own start and by each multiprocessing context.
Does not cover: what is ours alone (the other tests), and where ours differ on purpose (``deviations``).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

if sys.version_info < (3, 13):
    pytest.skip("needs Python 3.13 or later with its test package", allow_module_level=True)
pytest.importorskip("test.test_concurrent_futures")

import multiprocessing.util

import deviations
import shim
from test.test_concurrent_futures import (
    executor as cpython_executor,
)
from test.test_concurrent_futures import (
    test_as_completed as cpython_as_completed,
)
from test.test_concurrent_futures import (
    test_deadlock as cpython_deadlock,
)
from test.test_concurrent_futures import (
    test_future as cpython_future,
)
from test.test_concurrent_futures import (
    test_init as cpython_init,
)
from test.test_concurrent_futures import (
    test_process_pool as cpython_process_pool,
)
from test.test_concurrent_futures import (
    test_shutdown as cpython_shutdown,
)
from test.test_concurrent_futures import (
    test_thread_pool as cpython_thread_pool,
)
from test.test_concurrent_futures import (
    test_wait as cpython_wait,
)
from test.test_concurrent_futures import (
    util,
)

from futures_cluster.future import Future

pytestmark = pytest.mark.conformance


@pytest.fixture(scope="module", autouse=True)
def our_pools() -> Iterator[None]:
    """The tests' modules see our pools where they say ``futures.ThreadPoolExecutor``."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (cpython_process_pool, cpython_shutdown, cpython_thread_pool):
            patch.setattr(module, "futures", shim.OUR_POOLS)
        patch.setattr(cpython_shutdown, "assert_python_ok", shim.assert_python_ok)
        yield
    multiprocessing.util._cleanup_tests()  # type: ignore[attr-defined]  # ends the fork server and the tracker


def our_future(state: str = "PENDING", exception: BaseException | None = None, result: Any = None) -> Future:
    """What ``util.create_future`` makes, of our class."""
    future = Future()
    future._state, future._exception, future._result = state, exception, result
    return future


def with_our_futures(patch: pytest.MonkeyPatch, module: Any) -> None:
    """The futures that the tests of a module use are ours."""
    patch.setattr(module, "Future", Future)
    patch.setattr(module, "create_future", our_future)
    for name in dir(util):
        if name.endswith("_FUTURE") and hasattr(module, name):
            theirs = getattr(util, name)
            patch.setattr(module, name, our_future(theirs._state, theirs._exception, theirs._result))


def make(mixin: type, *executor_mixins: type) -> None:
    """Build the test classes of a mixin, one for each executor, as CPython does; those of contexts are slow."""
    for executor_mixin in executor_mixins:
        made: dict[str, Any] = {"__name__": __name__}
        util.create_executor_tests(made, mixin, executor_mixins=(executor_mixin,))
        del made["__name__"]
        ((known_as, cls),) = made.items()
        deviations.replace(cls, mixin, executor_mixin)
        if "ctx" in dir(cls):
            cls = pytest.mark.slow(cls)
        globals()[known_as] = cls


for sleeps in (
    cpython_as_completed.AsCompletedTests.test_duplicate_futures,
    cpython_executor.ExecutorTest.test_map_timeout,
    cpython_thread_pool.ThreadPoolExecutorTest.test_hang_global_shutdown_lock,
    cpython_wait.WaitTests.test_20369,
    cpython_wait.WaitTests.test_first_completed_some_already_completed,
    cpython_wait.WaitTests.test_first_exception,
    cpython_wait.WaitTests.test_first_exception_one_already_failed,
):
    pytest.mark.slow(sleeps)


class ThreadPoolExecutorTest(shim.ThreadPoolMixin, cpython_thread_pool.ThreadPoolExecutorTest):
    """On threads."""


class ThreadPoolShutdownTest(shim.ThreadPoolMixin, cpython_shutdown.ThreadPoolShutdownTest):
    """On threads."""


class ThreadPoolWaitTests(shim.ThreadPoolMixin, cpython_wait.ThreadPoolWaitTests):
    """On threads."""


make(cpython_process_pool.ProcessPoolExecutorTest, *shim.PROCESS_MIXINS)
make(cpython_shutdown.ProcessPoolShutdownTest, *shim.PROCESS_MIXINS)
make(cpython_wait.WaitTests, *shim.PROCESS_MIXINS)
make(cpython_deadlock.ExecutorDeadlockTest, *shim.PROCESS_MIXINS)
make(cpython_as_completed.AsCompletedTests, *shim.ALL_MIXINS)
make(cpython_init.InitializerMixin, *shim.ALL_MIXINS)


class FailingInitializerMixin(cpython_init.FailingInitializerMixin):
    """Lets go of the queue that CPython's leaves to the collector."""

    def tearDown(self) -> None:
        super().tearDown()
        if self.log_queue is not None:
            self.log_queue.close()
            self.log_queue.join_thread()
        self.log_queue = self.executor_kwargs = None


make(FailingInitializerMixin, *shim.ALL_MIXINS)
del FailingInitializerMixin


@pytest.mark.slow
class FailingInitializerResourcesTest(cpython_init.FailingInitializerResourcesTest):
    """No semaphore of a queue that the initializer got is left."""

    def test_spawn(self) -> None:
        self._test(globals()["ProcessPoolSpawnFailingInitializerTest"])

    def test_forkserver(self) -> None:
        self._test(globals()["ProcessPoolForkserverFailingInitializerTest"])


class OurAsCompletedTests(cpython_as_completed.AsCompletedTests):
    """With our ``as_completed``, and futures of our class where the tests make their own."""

    @pytest.fixture(autouse=True)
    def ours(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cpython_as_completed, "futures", shim.OUR_POOLS_AND_AS_COMPLETED)
        with_our_futures(monkeypatch, cpython_as_completed)


make(OurAsCompletedTests, shim.ThreadPoolMixin, shim.ProcessPoolOwnStartMixin)
del OurAsCompletedTests


class FutureTests(cpython_future.FutureTests):
    """With our class."""

    @pytest.fixture(autouse=True)
    def ours(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        with_our_futures(monkeypatch, cpython_future)
        # What is logged goes to stderr, where the tests look for it, as it does without pytest's handlers.
        assert logging.lastResort is not None
        logger = logging.getLogger("concurrent.futures")
        logger.addHandler(logging.lastResort)
        yield
        logger.removeHandler(logging.lastResort)


deviations.replace(FutureTests, cpython_future.FutureTests, None)
