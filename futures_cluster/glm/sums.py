"""Sums over all rows, wherever they are.

Covers: row blocks in this process, passed over by threads; row blocks on the workers of an executor; work on single
blocks for ADMM; tasks without an executor. Does not cover: what is summed (``passes``), in which order (``trees``),
what it means (``objective``).

The way of data, with an executor::

    theta --(once)--> a task a worker: block_sums of its blocks, one after the other --> additions --> one vector here

Blocks stay where they are, and a task costs some tenths of a millisecond: so one task passes over all small blocks of a
worker. It adds what the tree of all blocks adds, and gives the rest as it is; so the bits do not depend on which worker
holds which block. Vectors that are small are added here, large ones by tasks.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from futures_cluster.config import usable_cores
from futures_cluster.glm.array_types import Array
from futures_cluster.glm.families import Family
from futures_cluster.glm.passes import block_diagonal, block_product, block_sums, sums_size
from futures_cluster.glm.rowblocks import RowBlock
from futures_cluster.glm.trees import Node, fold, tree_sum

if TYPE_CHECKING:
    from futures_cluster.executor import Executor

#: Results up to this many bytes travel with the message that a task has finished (``services.worker.service``).
SMALL_BYTES = 32 * 1024
#: Levels of the tree that one task adds: up to eight vectors.
LEVELS = 3
#: Maximum bytes of the blocks that one task passes over, so that a worker with little memory has them at once.
GROUP_BYTES = 32 * 1024 * 1024
#: Count of numbers below which threads cost more than they save.
THREADS_FROM = 400_000


def call_here(fn: Callable[..., Any], *args: Any, **options: Any) -> concurrent.futures.Future[Any]:
    """Call ``fn`` in this process as a task, with the results of futures."""
    done: concurrent.futures.Future[Any] = concurrent.futures.Future()
    done.set_result(fn(*map(_result, args), **{name: _result(value) for name, value in options.items()}))
    return done


def _result(value: Any) -> Any:
    return value.result() if isinstance(value, concurrent.futures.Future) else value


def submit_of(executor: Executor | None) -> Callable[..., concurrent.futures.Future[Any]]:
    """Return what submits tasks: the executor, or ``call_here``."""
    return call_here if executor is None else executor.submit


class Sums:
    """Sums over row blocks."""

    n_blocks = 0
    n_rows = 0
    n_features = 0
    is_sparse = False

    def sums(self, family: Family, intercept: bool, theta: Array, order: int, stride: int = 1) -> Array:
        """Return the vector of one pass (``passes.block_sums``) over all blocks."""
        raise NotImplementedError

    def product(self, family: Family, intercept: bool, theta: Array, vector: Array) -> Array:
        """Return the Hessian of the summed loss times a vector."""
        raise NotImplementedError

    def diagonal(self, family: Family, intercept: bool, theta: Array) -> Array:
        """Return the diagonal of the Hessian of the summed loss."""
        raise NotImplementedError

    def submit(self, number: int, fn: Callable[..., Any], *args: Any) -> concurrent.futures.Future[Any]:
        """Run ``fn(block, *args)`` where the block is."""
        raise NotImplementedError

    def each(self, fn: Callable[..., Any], *args: Any) -> list[Any]:
        """Return ``fn(block, *args)`` of all blocks."""
        futures = [self.submit(number, fn, *args) for number in range(self.n_blocks)]
        return [future.result() for future in futures]

    def share(self, value: Any) -> Any:
        """Return the argument of many tasks: itself, or one future of it."""
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
        self._open = contextlib.ExitStack()

    def __enter__(self) -> LocalSums:
        if self.threads > 1:
            self._open.enter_context(single_threaded_blas())
            self._pool = self._open.enter_context(concurrent.futures.ThreadPoolExecutor(self.threads))
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._open.close()
        self._pool = None

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
        submit = call_here if self._pool is None else self._pool.submit
        return submit(fn, self.blocks[number], *args)


class ExecutorSums(Sums):
    """Blocks that are futures of an executor.

    Parameters
    ----------
    executor : futures_cluster.Executor
    blocks : sequence of futures of RowBlock
    nbytes : int
        What all blocks take; 0 stands for dense rows of doubles.
    """

    def __init__(
        self,
        executor: Executor,
        blocks: Sequence[Any],
        n_rows: int,
        n_features: int,
        *,
        is_sparse: bool = False,
        nbytes: int = 0,
    ) -> None:
        self.executor = executor
        self.blocks = list(blocks)
        self.n_blocks = len(self.blocks)
        self.n_rows = n_rows
        self.n_features = n_features
        self.is_sparse = is_sparse
        self.nbytes = nbytes or 8 * n_rows * n_features

    def share(self, value: Any) -> Any:
        is_small = isinstance(value, np.ndarray) and value.nbytes <= SMALL_BYTES
        return value if is_small else self.executor.scatter(value)

    def _groups(self) -> list[list[int]]:
        """Return the blocks of each task: of one worker, or small neighbours.

        Small blocks go to another worker once, where each pass would pay for one more task, or for sums that cannot be
        added because others have the neighbours.

        No group has more than a worker's fair part of the blocks, so that one that holds most of them can still be
        helped, and none has more bytes than a task should need at once. Workers take turns in the list, as tasks are
        given out in the order in which they are submitted: no worker waits for its own, and takes another's meanwhile.
        """
        fair = -(-self.n_blocks // max(1, self.executor._max_workers))
        most = max(1, min(fair, GROUP_BYTES * self.n_blocks // max(1, self.nbytes)))
        held: dict[Any, list[int]] = {}
        for number, block in enumerate(self.blocks):
            stays = block._holders and self.nbytes > GROUP_BYTES
            held.setdefault(block._holders[0][0] if stays else None, []).append(number)
        cut = [[numbers[i : i + most] for i in range(0, len(numbers), most)] for numbers in held.values()]
        return [group for turn in itertools.zip_longest(*cut) for group in turn if group is not None]

    def _argument(self, number: int) -> Any:
        """Return what a task gets for a block."""
        return self.blocks[number]

    def _sum(self, size: int, fn: Callable[..., Array], *args: Any) -> Array:
        """Return the sum of the vectors ``fn(block, *args)`` over all blocks."""
        n = self.n_blocks

        def start(numbers: list[int]) -> Any:
            return self.executor.submit(sum_of_group, n, numbers, fn, args, *[self._argument(i) for i in numbers])

        if 8 * size <= SMALL_BYTES:
            futures = [start(numbers) for numbers in self._groups()]
        else:
            futures = self._added(
                {
                    node: start(run)
                    for numbers in self._groups()
                    for node, run in fold({(0, number): [number] for number in numbers}, n).items()
                }
            )
        (total,) = add_nodes(n, *[future.result() for future in futures]).values()
        return total

    def _added(self, futures: dict[Node, Any]) -> list[Any]:
        """Return a future of the sum of large vectors, added by tasks as in the tree."""
        height = 0
        while len(futures) > 1:
            height += LEVELS
            under: dict[Node, list[Any]] = {}
            for (level, index), future in futures.items():
                node = (height, index >> (height - level)) if level < height else (level, index)
                under.setdefault(node, []).append(future)
            futures = {
                node: parts[0] if len(parts) == 1 else self.executor.submit(add_nodes, self.n_blocks, *parts)
                for node, parts in under.items()
            }
        return list(futures.values())

    def sums(self, family: Family, intercept: bool, theta: Array, order: int, stride: int = 1) -> Array:
        size = sums_size(self.n_features, intercept, family.outputs, order)
        return self._sum(size, block_sums, family, intercept, self.share(theta), order, stride)

    def product(self, family: Family, intercept: bool, theta: Array, vector: Array) -> Array:
        return self._sum(theta.size, block_product, family, intercept, self.share(theta), self.share(vector))

    def diagonal(self, family: Family, intercept: bool, theta: Array) -> Array:
        return self._sum(theta.size, block_diagonal, family, intercept, self.share(theta))

    def submit(self, number: int, fn: Callable[..., Any], *args: Any) -> concurrent.futures.Future[Any]:
        future: concurrent.futures.Future[Any] = self.executor.submit(fn, self._argument(number), *args)
        return future


def sum_of_group(
    n_blocks: int, numbers: list[int], fn: Callable[..., Array], args: tuple[Any, ...], *blocks: RowBlock
) -> dict[Node, Array]:
    """Pass over some blocks, and add as far as the tree of all blocks goes; a task."""
    return fold({(0, number): fn(block, *args) for number, block in zip(numbers, blocks)}, n_blocks)


def add_nodes(n_blocks: int, *parts: dict[Node, Array]) -> dict[Node, Array]:
    """Add partial sums; a task."""
    return fold({node: vector for part in parts for node, vector in part.items()}, n_blocks)


def single_threaded_blas() -> contextlib.AbstractContextManager[Any]:
    """Keep BLAS from starting threads under each of ours, until the context ends."""
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    limits: contextlib.AbstractContextManager[Any] = threadpool_limits(1, user_api="blas")
    return limits
