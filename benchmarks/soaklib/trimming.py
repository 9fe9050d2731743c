"""Imported by the scheduler and the workers of a soak: each second they give back memory that they do not use.

Otherwise pages that are free, and lie between others, look like growth: minutes of mishaps leave some megabytes.
"""

from __future__ import annotations

import ctypes
import threading
import time

EACH_S = 1.0


def _trim() -> None:
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # another C library
        return
    while True:
        time.sleep(EACH_S)
        trim(0)


threading.Thread(target=_trim, name="trim", daemon=True).start()
