"""Limits of the system, and errors that say which of them was reached.

Covers: the words for an ``OSError``. Does not cover: raising limits, and trying again (``restart_policy``).

This module imports next to nothing: it is needed where there is no descriptor left to read a module.
"""

from __future__ import annotations

import errno

#: What was reached, and what to do.
_LIMITS = {
    errno.EAGAIN: "the limit of processes is reached: raise `ulimit -u`, or pids.max of the cgroup",
    errno.EFBIG: "the limit of file sizes is reached, which holds for shared memory, too: raise `ulimit -f`",
    errno.EMFILE: "the limit of descriptors is reached: close files, or raise `ulimit -n`",
    errno.ENOMEM: "the memory of the machine or of the cgroup is used up: start fewer workers",
}


def in_words(error: OSError) -> str:
    """Return why a call of the system failed, with the limit if it is one.

    Examples
    --------
    >>> in_words(OSError(24, "Too many open files"))
    'Too many open files (the limit of descriptors is reached: close files, or raise `ulimit -n`)'
    >>> in_words(OSError("no such thing"))
    'no such thing'
    """
    advice = _LIMITS.get(error.errno or 0)
    return f"{error.strerror} ({advice})" if advice else str(error)


def refuse_start(error: OSError) -> OSError:
    """Return the error to raise for one that kept an executor from starting.

    It is the same error if no limit explains it.
    """
    if error.errno not in _LIMITS:
        return error
    return OSError(error.errno, f"the executor cannot start: {in_words(error)}")
