"""A client: what stands between the users' threads and the scheduler.

Covers: keys, pickling at submit, futures of keys, cancelling, releasing, the end. The same class serves the program
that made the executor and the tasks that submit more tasks.
Does not cover: sending, and delivering results and errors (``client_messages``), the futures themselves (``future``,
which is above this room and handed in), results that stay on workers (``fetching``).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import weakref
from collections.abc import Callable
from typing import Any

from futures_cluster import messages as m
from futures_cluster.context import submitting_task
from futures_cluster.messages import Key, Payload, TaskOptions
from futures_cluster.services.client.call_preparation import (
    check_free,
    find_equal,
    find_refusal,
    inherit,
    pure_key,
)
from futures_cluster.services.client.client_messages import ClientMessages
from futures_cluster.services.client.function_table import function_name
from futures_cluster.services.client.graphs import Graph, build_graph
from futures_cluster.services.common.protocols import ClientFuture
from futures_cluster.wire.codec.exception_state import copied

#: Maximum number of released keys, and of seconds, that wait for other messages to go with.
MAX_UNTOLD_RELEASES = 500
MAX_UNTOLD_S = 1.0

# Of keys: one for all clients of a process, so that a future of one executor is never taken for another's.
_numbers = itertools.count(1)


class Client(ClientMessages):
    """One client of a scheduler; see ``ClientMessages`` for its parameters."""

    # ---------------------------------------------------------------- users' threads

    def submit(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: TaskOptions = m.DEFAULT_OPTIONS,
        resolve: bool = True,
        pure: bool = False,
        key: Key | None = None,
        scatters: bool = False,
    ) -> Any:
        """Submit a call; errors of pickling go to the future.

        Parameters
        ----------
        scatters : bool
            Whether the one argument is scattered data, and the function returns it.

        Raises
        ------
        DuplicateKey
            If ``key`` is the key of another future that is alive.
        """
        parent = submitting_task()
        try:
            function_id, name, news, as_argument = self.functions.look_up(fn)
            if as_argument:
                args = (fn, *args)
            if scatters:
                payload, inputs, references = self.codec.dump_scattered(args)
            else:
                payload, inputs, references = self.codec.dump_call(args, kwargs, resolve)
        except Exception as error:
            return self._failed(fn, key, error)
        del args, kwargs
        call = None  # what the key stands for, if others may submit it as well
        goes_out = False
        try:
            if key is not None:
                check_free(key, self._known, self._pending)
                if not scatters:
                    call = pure_key(name, function_id, payload, inputs)
            elif pure:
                key = call = pure_key(name, function_id, payload, inputs)
                known = find_equal(call, self._known)
                if known is not None:
                    return known
            is_own_key = key is None
            if key is None:
                key = f"{name}-{self.owner}-{next(_numbers)}"
            refusal = find_refusal(references, self) if references else None
            if refusal is not None:
                return self._failed(fn, key, refusal)
            goes_out = True
        finally:
            if not goes_out:
                self.codec.release(payload)
        future = self._make_future(key, self)
        if references:
            future._keepalive = references  # alive until this one is done
        depth = 0
        if parent is not None:
            future._parent = parent
            parent.children[key] = None
            parent.host.has_children(parent)
            depth, options = parent.depth + 1, inherit(options, parent)
        row = (key, function_id, payload, inputs)
        self.submitted += 1
        try:
            self._pending[key] = future
            if self.closed is not None:  # it was closed while this was under way
                raise RuntimeError("cannot schedule new futures after shutdown")
            if not is_own_key:
                self._known[key] = future
            # The mailbox now holds only releases, which no thread waits for; they may come after a task, but not after
            # one of the same key.
            if (
                not is_own_key
                or self._mailbox.awake
                or not self._send_now()
                or not self._transmit_now(
                    [m.SubmitTasks(self.name, [row], [] if news is None else [news], options, depth)]
                )
            ):
                self._mailbox.post((options, depth, row, news, call))
        except BaseException:  # Ctrl-C among others: the caller does not get this future, so nothing may wait for it
            self._pending.pop(key, None)
            self._done_with(future)
            self._mailbox.post_quietly(key)  # behind the task, if that went out
            self._check_idle()
            raise
        if news is not None:
            self.functions.mark_registered(function_id)
        return future

    def _failed(self, fn: Callable[..., Any], key: Key | None, error: BaseException) -> Any:
        future = self._make_future(key or f"{function_name(fn)}-{self.owner}-{next(_numbers)}", self)
        future._fail_here(error)
        return future

    def new_future(self, key: Key | None, name: str) -> Any:
        """Make a future of what comes by another way than a submitted task.

        Without a key, the client makes one of the name.

        Raises
        ------
        DuplicateKey
            If ``key`` is the key of another future that is alive.
        """
        if self.closed is not None:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if key is None:
            key = f"{name}-{self.owner}-{next(_numbers)}"
        else:
            check_free(key, self._known, self._pending)
        future = self._make_future(key, self)
        self._pending[key] = self._known[key] = future
        return future

    def fail_future(self, future: ClientFuture, error: BaseException) -> None:
        """Fail an opened future, as what it stands for does not come."""
        self._pending.pop(future.key, None)
        self._known.pop(future.key, None)
        future._fail_here(error)
        self._check_idle()

    def future_of_key(self, key: Key) -> Any:
        """Return the future of a key that came to this process by its name.

        Such a key comes inside the arguments of a task.
        """
        return self.futures_of_keys([key])[key]

    def tell_modules(self) -> None:
        """Send workers the versions of the user's modules from now on.

        This goes on: workers learn of later versions as well.
        """
        from futures_cluster.services.client.module_news import ModuleNews  # the clients of tasks tell nothing

        scope = self.codec.scope.name  # by which workers know whose functions they run
        self.functions.modules = ModuleNews(lambda versions: self.send(m.ShareCode(scope, versions=[*versions])))

    def cancelled(self, future: ClientFuture, force: bool) -> None:
        """Tell the scheduler that a future was cancelled.

        The caller will not look at its result.
        """
        if self._pending.pop(future.key, None) is not None:  # the thread that takes it out of there sees to the rest
            self._done_with(future)
        self._known.pop(future.key, None)
        self._mailbox.post(m.CancelTasks(self.name, [future.key], force))
        self._check_idle()

    def release(self, key: Key, at_once: bool) -> None:
        """Release a key whose last future is gone; from ``__del__``, at any time."""
        if self.forked:
            return
        self._untold_releases += 1
        if at_once or self._untold_releases >= MAX_UNTOLD_RELEASES:
            self._untold_releases = 0
            self._mailbox.post(key)
        else:
            mailbox = self._mailbox
            mailbox.post_quietly(key)
            if not mailbox.wakes_later:
                mailbox.wake_later(MAX_UNTOLD_S)

    def fetch(self, future: ClientFuture, timeout: float | None) -> Payload:
        """Get a result that stays on a worker; blocks. See ``Fetching.fetch``."""
        self.begin_wait()
        return self._fetching.fetch(future, timeout)

    def submit_graph(self, graph: Graph) -> dict[Key, Any]:
        """Submit tasks that need each other, in one message.

        Returns the futures of the keys that are wanted. The client holds them weakly until they are done: when the last
        reference to one goes, its task stops.

        Raises
        ------
        Exception
            What pickling a task raises; then nothing is submitted.
        """
        parent = submitting_task()
        message, kept = build_graph(graph, self, self.codec, self.functions, parent)
        futures = {key: self._make_future(key, self) for key in graph.wanted}
        for key, future in futures.items():
            future._of_graph = True
            future._keepalive = kept or None
            future._parent = parent
            self._pending[key] = weakref.ref(future)
        if self.closed is not None:  # perhaps while this was under way
            for future in futures.values():
                self.drop_unfinished(future)
            raise RuntimeError("cannot schedule new futures after shutdown")
        self._known.update(futures)
        self.submitted += len(message.tasks)
        if parent is not None:
            parent.children.update(dict.fromkeys(futures))
            parent.host.has_children(parent)
        self._mailbox.post(message)
        for function_id, _, _ in message.functions:
            self.functions.mark_registered(function_id)
        return futures

    def drop_unfinished(self, future: ClientFuture) -> None:
        """Stop an unfinished task of a graph when ``__del__`` ends its last future."""
        if not self.forked and self._pending.pop(future.key, None) is not None:
            self._done_with(future)
            self._mailbox.post(future.key)
            self._check_idle()

    # ---------------------------------------------------------------- the end

    def pending(self) -> list[ClientFuture]:
        """Return the futures that are not done."""
        futures = [each() if type(each) is weakref.ref else each for each in list(self._pending.values())]
        return [future for future in futures if future is not None]

    def count_pending(self) -> int:
        """Count the futures that are not done."""
        return len(self._pending)

    def count_waiting(self) -> int:
        """Count the futures that are not done, and questions without an answer."""
        return len(self._pending) + self.shared.waiting

    async def finish(self) -> None:
        """Wait until no future is pending, and fetch all results; on the loop.

        Those are the results of live futures that are still on workers.
        """
        self._idle = asyncio.Event()
        self._check_idle()
        await self._idle.wait()
        with contextlib.suppress(Exception):
            futures = list(self._known.values())
            await self._fetching.bring_all_home(
                [each for each in futures if each._holders is not None and not each._scattered]
            )

    def close(self, reason: BaseException) -> None:
        """Stop all work: what is pending fails with the reason.

        The loop's thread calls this.
        """
        self.closed = reason
        for future in self.pending():
            if self._pending.pop(future.key, None) is not None:
                self._done_with(future)
                future._fail_here(copied(reason))
        self._fetching.close(reason)
        self.shared.close(reason)
