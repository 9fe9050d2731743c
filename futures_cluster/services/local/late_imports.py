"""Modules that the client of worker processes may need at any time, imported while its workers start.

Covers: which modules these are, and importing them. Does not cover: what the first task needs, imported before it.

The first task of most programs does without them, so functions import them. A program may give up its user or its root
folder once its executor has started, and could not read them then: a result would be lost because nothing can fetch it.
The caller imports them when it has ordered its workers, and would wait for these anyway.
"""

from __future__ import annotations

import contextlib
import importlib
import sys

from futures_cluster.services.launch import orphans

#: What fetching results needs, and then what functions and objects of ``__main__`` do.
_ALWAYS = (
    "futures_cluster.services.common.security",
    "futures_cluster.wire.transports.unix",
    "futures_cluster.wire.transports.tcp",
    "futures_cluster.wire.codec.by_value",
    "futures_cluster.wire.codec.capture",
)
#: What arrays need, where there are any.
_WITH_NUMPY = ("futures_cluster.wire.codec.memmaps",)


#: What stopping a worker needs that has no template which sees to what it has started.
_WITHOUT_TEMPLATE = ("psutil",)


def load(has_template: bool) -> None:
    """Import them; what cannot be imported fails where it is used."""
    arrays = _WITH_NUMPY if "numpy" in sys.modules else ()
    for name in (*_ALWAYS, *arrays, *(() if has_template and orphans.available else _WITHOUT_TEMPLATE)):
        with contextlib.suppress(Exception):
            importlib.import_module(name)
