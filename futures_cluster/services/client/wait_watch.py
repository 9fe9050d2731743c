"""A client whose tasks cannot run says so: what they wait for, and what to do.

Covers: noticing that a program waits for tasks that no worker can take, in whichever thread and way: ``result``,
``wait``, ``as_completed``, a channel, the end of a ``with`` block or of the program. Does not cover: which tasks these
are (``scheduler.unplaceable``), the times at which a wait speaks (``reminders``).

A timer runs while something is waited for. It looks at the oldest wait only; if that is the same as at the last look,
nothing may be going on, and the client asks the scheduler. It reports tasks that lack the same at two looks in a row.
So submitting and delivering cost nothing here, and while results come in order the scheduler is not asked at all.
A question that has no answer at the next look is a lack of its own: the scheduler is silent.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from futures_cluster.services.common import forks
from futures_cluster.services.common.reminders import FIRST_S, Reminder, log

#: Between two looks.
CHECK_INTERVAL_S = FIRST_S / 2
#: What is waited for when the scheduler does not answer.
_ANSWER = "an answer"


class WaitWatch:
    """Looks at what a client waits for; on the client's loop but for ``arm``.

    Parameters
    ----------
    oldest : callable
        The key that the client has waited for longest; None when it waits for nothing.
    ask : callable
        ``await ask()``: what ``unplaceable`` says of the client's tasks.
    advise : callable
        ``advise(row)``: what the user can do about a row of it.
    describe_silence : callable or None
        ``describe_silence(seconds)``: a sentence about a scheduler that does not answer; None if it cannot be silent.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        oldest: Callable[[], str | None],
        ask: Callable[[], Awaitable[list[dict[str, Any]]]],
        advise: Callable[[dict[str, Any]], str],
        describe_silence: Callable[[float], str] | None = None,
    ) -> None:
        self.is_armed = False
        self._loop = loop
        self._find_oldest = oldest
        self._ask = ask
        self._advise = advise
        self._describe_silence = describe_silence
        self._timer: asyncio.TimerHandle | None = None
        self._oldest: str | None = None
        self._looked_at_s = 0.0
        self._reminders: dict[str, Reminder] = {}  # by what tasks want
        self._asking: asyncio.Task[None] | None = None
        self._asked_at_s = 0.0

    def arm(self) -> None:
        """Watch a wait that may begin now; from any thread, also under the client's lock."""
        self.is_armed = True
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        # The timer, even if the wait is over by now: one task after the other must not wake the loop for each.
        if self._timer is None:
            self._oldest, self._looked_at_s = self._find_oldest(), self._loop.time()
            self._timer = self._loop.call_later(CHECK_INTERVAL_S, self._look)

    def _look(self) -> None:
        # First: a thread that submits after the look at what is waited for finds that it has to arm this again.
        self.is_armed = False
        self._timer = None
        former, self._oldest = self._oldest, self._find_oldest()
        before_s, self._looked_at_s = self._looked_at_s, self._loop.time()
        if self._oldest != former:
            self._reminders.clear()
        elif self._oldest is not None:
            if self._asking is None or self._asking.done():
                self._asked_at_s = self._looked_at_s
                self._asking = self._loop.create_task(self._find_out(before_s))
            elif (
                self._looked_at_s - before_s < 2 * CHECK_INTERVAL_S
            ):  # else this process was stopped, and the answer may be here
                self._speak_of_silence()
        if self._oldest is not None:
            self.is_armed = True
            self._timer = self._loop.call_later(CHECK_INTERVAL_S, self._look)

    async def _find_out(self, before_s: float) -> None:
        """Ask what is lacking, and log it when it is time."""
        try:
            rows = {row["want"]: row for row in await self._ask()}
            self._reminders = {want: self._reminders.get(want) or Reminder(before_s) for want in rows}
            now_s = self._loop.time()
            lines = [
                self._sentence(rows[want], now_s - reminder.since_s)
                for want, reminder in self._reminders.items()
                if reminder.is_due(now_s)
            ]
            if lines:
                _say(lines)
        except (OSError, RuntimeError):  # the scheduler is gone or busy: the connection sees to that
            pass
        except Exception:
            log.exception("the client cannot tell what its tasks wait for")

    def _speak_of_silence(self) -> None:
        """Log that the scheduler has not answered since the look before."""
        if self._describe_silence is None:
            return
        reminder = self._reminders.setdefault(_ANSWER, Reminder(self._asked_at_s))
        if reminder.is_due(self._looked_at_s):
            _say([self._describe_silence(self._looked_at_s - reminder.since_s)])

    def _sentence(self, row: dict[str, Any], waited_s: float) -> str:
        tasks, have = ("task", "has") if row["count"] <= 1 else ("tasks", "have")
        who = row.get("who") or f"{row['count']:,} {tasks} (such as {row['key']})"
        wait = f"{who} {have} waited {waited_s:.0f} s for {row['want']}"
        return f"{wait}; {row['why']}. {self._advise(row)}"


def _say(lines: list[str]) -> None:
    """Log lines on a thread of their own, because users' handlers may block."""

    def run() -> None:
        for line in lines:
            with forks.Once():
                log.warning("%s", line)

    try:
        threading.Thread(target=run, name="futures_cluster-waits", daemon=True).start()
    except RuntimeError:  # the interpreter is about to end
        run()
