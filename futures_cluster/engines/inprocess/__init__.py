"""The engines of this process, which pack and send nothing: on its threads, or at submit.

``base`` is what both have in common, and ``sync`` the one that runs calls at submit. Of the one with threads ``engine``
is what the executor sees (``lifecycle`` and ``introspection`` are parts of it), ``work`` a call on its way, ``ready``
the order of calls, ``slots`` the threads, ``lending`` what of them tasks that wait lend, ``deadlines`` what happens at
given times, ``instrumentation`` what is noted while the page has a viewer, ``snapshot`` and ``view`` how it is shown.
"""

from __future__ import annotations

from futures_cluster.engines.inprocess.engine import InProcessEngine

__all__ = ["InProcessEngine"]
