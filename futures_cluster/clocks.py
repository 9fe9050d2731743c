"""The clocks of this package: copies of those in ``time`` that nothing else can reach.

Covers: every clock and pause that the package uses; importing what must not see frozen time. Does not cover: the pure
rooms, which get the time as an argument.

Tests freeze time: they replace functions of the module ``time``, and freezegun also replaces them wherever a loaded
module has them as a global. A wait for some seconds would then last for ever, and a heartbeat that is never due loses
a worker. A second instance of the module has its own functions. They are as fast as the originals,
and are right also when this package is imported while time is frozen.
"""

from __future__ import annotations

import contextlib
import sys
import time as _original
from collections.abc import Callable, Iterator
from typing import Any


def _second_instance(module: Any) -> Any:
    spec = module.__spec__
    try:
        instance = spec.loader.create_module(spec)
        spec.loader.exec_module(instance)
    except Exception:  # an interpreter whose extension modules exist only once: its clocks can be frozen
        return module
    return module if instance is None else instance


_clocks = _second_instance(_original)

#: Seconds that never go back, for waiting.
monotonic: Callable[[], float] = _clocks.monotonic
#: Seconds with the best resolution, for durations.
perf_counter: Callable[[], float] = _clocks.perf_counter
#: Seconds of the processor for this process.
process_time: Callable[[], float] = _clocks.process_time
#: Seconds since 1970, for people.
time: Callable[[], float] = _clocks.time
#: Pause this thread for some seconds.
sleep: Callable[[float], None] = _clocks.sleep
if hasattr(_original, "clock_gettime"):
    #: What a clock of the system says, such as that of a thread.
    clock_gettime: Callable[[int], float] = _clocks.clock_gettime


def thread_time(ident: int) -> float | None:
    """Return the processor time of a thread in seconds, or None if unknown."""
    try:
        return clock_gettime(_original.pthread_getcpuclockid(ident))
    except (AttributeError, NameError, OSError):
        return None


@contextlib.contextmanager
def real_dates() -> Iterator[None]:
    """Keep the real classes of ``datetime`` in their module, also under freezegun.

    A compiled module looks for them when it is imported, and keeps what it finds. A subclass of another size is worth a
    warning to it, and is the wrong class once time goes on.
    """
    module: Any = sys.modules.get("datetime")
    frozen = {name: getattr(module, name) for name in ("date", "datetime") if _real(module, name) is not None}
    for name in frozen:
        setattr(module, name, _real(module, name))
    try:
        yield
    finally:
        for name, cls in frozen.items():
            setattr(module, name, cls)


def _real(module: Any, name: str) -> Any:
    """Return the real class behind another module's subclass; None if it is real."""
    bases = getattr(getattr(module, name, None), "__mro__", ())
    return next((base for base in bases[1:] if (base.__module__, base.__name__) == ("datetime", name)), None)
