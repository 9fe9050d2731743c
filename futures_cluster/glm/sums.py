"""Sums over all rows, wherever they are.

Covers: row blocks in this process, passed over by threads; row blocks on the workers of an executor, one task each
and a tree of additions; work on single blocks for ADMM. Does not cover: what is summed (``passes``), what it means
(``objective``).

The way of data, with an executor::

    theta --(once)--> block_sums on each block's worker --> additions, eight at a time --> one vector here

Blocks stay where they are. Vectors that are small come here as they are and are added here, because a task of
additions would take longer than they do. The order of additions depends on the number of blocks only, never on who is
first, so repeated fits give the same bits.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from futures_cluster.config import usable_cores
from futures_cluster.glm.families import Family
from futures_cluster.glm.passes import block_diagonal, block_product, block_sums, sums_size, tree_sum
from futures_cluster.glm.rowblocks import RowBlock

Array = Any

#: Results up to this many bytes travel with the message that a task has finished (``services.worker``).
SMALL_BYTES = 32 * 1024
#: Vectors that one task adds.
FAN_IN = 8
#: Below so many numbers threads cost more than they save.
THREADS_FROM = 400_000


class Sums:
    """Sums over row blocks."""

    n_blocks = 0
    n_rows = 0
    n_features = 0
    is_sparse = False

    def sums(self, family: Family, intercept: bool, theta: Array, order: int, stride: int = 1) -> Array:
        """The vector of one pass (``passes.block_sums``) over all blocks."""
        raise NotImplementedError

    def product(self, family: Family, intercept: bool, theta: Array, vector: Array) -> Array:
        """The Hessian of the summed loss times a vector."""
        raise NotImplementedError

    def diagonal(self, family: Family, intercept: bool, theta: Array) -> Array:
        """The diagonal of the Hessian of the summed loss."""
        raise NotImplementedError

    def submit(self, number: int, fn: Callable[..., Any], *args: Any) -> concurrent.futures.Future[Any]:
        """Run ``fn(block, *args)`` where the block is."""
        raise NotImplementedError

    def share(self, value: Any) -> Any:
        """What many calls of ``submit`` get: itself, or a future of it that is sent once."""
        return value


class LocalSums(Sums):
    """Blocks in this process. Use as a context: threads live as long as it is open.

    Examples
    --------
    >>> import numpy as np
    >>> from futures_cluster.glm.families import Normal
    >>> block = RowBlock(np.array([[1.0], [2.0]]), np.array([1.0, 3.0]))
    >>> with LocalSums([block]) as local:
    ...     local.sums(Normal(), False, np.array([1.0]), 1).tolist()  # weight, loss, gradient
    [2.0, 0.5, -2.0]
    """

    def __init__(self, blocks: Sequence[RowBlock], threads: int | None = None) -> None:
        self.blocks = list(blocks)
        self.n_blocks = len(self.blocks)
        self.n_rows = sum(block.n_rows for block in self.blocks)
        self.n_features = self.blocks[0].n_features
        self.is_sparse = any(block.is_sparse for block in self.blocks)
        size = sum(block.nbytes for block in self.blocks) // 8
        self.threads = (usable_cores() if size > THREADS_FROM else 1) if threads is None else threads
        self._pool: concurrent.futures.ThreadPoolExecutor | None = None
        self._limits = contextlib.ExitStack()

    def __enter__(self) -> LocalSums:
        if self.threads > 1:
            self._pool = concurrent.futures.ThreadPoolExecutor(self.threads)
            self._limits.enter_context(_single_threaded_blas())
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        self._limits.close()

    def _run(self, fn: Callable[..., Any], items: Any) -> Any:
        return map(fn, items) if self._pool is None else self._pool.map(fn, items)

    def sums(self, family: Family, intercept: bool, theta: Array, order: int, stride: int = 1) -> Array:
        return tree_sum(
            [block_sums(block, family, intercept, theta, order, stride, self._run) for block in self.blocks]
        )

    def product(self, family: Family, intercept: bool, theta: Array, vector: Array) -> Array:
        return tree_sum([block_product(block, family, intercept, theta, vector, self._run) for block in self.blocks])

    def diagonal(self, family: Family, intercept: bool, theta: Array) -> Array:
        return tree_sum([block_diagonal(block, family, intercept, theta, self._run) for block in self.blocks])

    def submit(self, number: int, fn: Callable[..., Any], *args: Any) -> concurrent.futures.Future[Any]:
        if self._pool is not None:
            return self._pool.submit(fn, self.blocks[number], *args)
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        try:
            future.set_result(fn(self.blocks[number], *args))
        except Exception as error:
            future.set_exception(error)
        return future


class ExecutorSums(Sums):
    """Blocks that are futures of an executor.

    Parameters
    ----------
    executor : futures_cluster.Executor
    blocks : sequence of futures of RowBlock
    """

    def __init__(
        self, executor: Any, blocks: Sequence[Any], n_rows: int, n_features: int, *, is_sparse: bool = False
    ) -> None:
        self.executor = executor
        self.blocks = list(blocks)
        self.n_blocks = len(self.blocks)
        self.n_rows = n_rows
        self.n_features = n_features
        self.is_sparse = is_sparse

    def _share(self, vector: Array) -> Any:
        """What every task gets, sent once."""
        return self.executor.scatter(vector) if vector.nbytes > SMALL_BYTES else vector

    def share(self, value: Any) -> Any:
        return self.executor.scatter(value)

    def _add_up(self, futures: list[Any], size: int) -> Array:
        if 8 * size > SMALL_BYTES:
            while len(futures) > 1:
                futures = [
                    self.executor.submit(add_vectors, *futures[i : i + FAN_IN]) if len(futures) > i + 1 else futures[i]
                    for i in range(0, len(futures), FAN_IN)
                ]
        return tree_sum([future.result() for future in futures])

    def sums(self, family: Family, intercept: bool, theta: Array, order: int, stride: int = 1) -> Array:
        shared = self._share(theta)
        size = sums_size(self.n_features, intercept, family.outputs, order)
        submit = self.executor.submit
        return self._add_up(
            [submit(block_sums, block, family, intercept, shared, order, stride) for block in self.blocks], size
        )

    def product(self, family: Family, intercept: bool, theta: Array, vector: Array) -> Array:
        shared, shared_vector = self._share(theta), self._share(vector)
        submit = self.executor.submit
        return self._add_up(
            [submit(block_product, block, family, intercept, shared, shared_vector) for block in self.blocks],
            theta.size,
        )

    def diagonal(self, family: Family, intercept: bool, theta: Array) -> Array:
        shared = self._share(theta)
        submit = self.executor.submit
        return self._add_up(
            [submit(block_diagonal, block, family, intercept, shared) for block in self.blocks], theta.size
        )

    def submit(self, number: int, fn: Callable[..., Any], *args: Any) -> concurrent.futures.Future[Any]:
        future: concurrent.futures.Future[Any] = self.executor.submit(fn, self.blocks[number], *args)
        return future


def add_vectors(*vectors: Array) -> Array:
    """The task that adds partial sums."""
    return tree_sum(vectors)


@contextlib.contextmanager
def _single_threaded_blas() -> Iterator[None]:
    """BLAS must not start threads of its own under each of ours."""
    try:
        from threadpoolctl import threadpool_limits
    except ModuleNotFoundError:  # comes with scikit-learn
        yield
        return
    with threadpool_limits(1, user_api="blas"):
        yield
