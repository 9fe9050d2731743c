"""What each engine of this package can do: declared once, for the checks, the documentation, and users.

Covers: features and traits of all our engines, and the table of them. Does not cover: checking that it is true, which
the checks do (``run_check`` has parameters for it).
"""

from __future__ import annotations

from dataclasses import dataclass

from futures_cluster.testing.engine_checks.harness import FEATURES, TRAITS


@dataclass(frozen=True)
class Capabilities:
    """One engine.

    Attributes
    ----------
    title : str
        For the table.
    lacks : frozenset of str
        Features of ``FEATURES`` that it refuses with ``NotSupported``.
    traits : frozenset of str
        Of ``TRAITS``.
    """

    title: str
    lacks: frozenset[str]
    traits: frozenset[str]


def _engine(title: str, lacks: str, traits: str) -> Capabilities:
    engine = Capabilities(title, frozenset(lacks.split()), frozenset(traits.split()))
    assert engine.lacks <= set(FEATURES) and engine.traits <= set(TRAITS)
    return engine


#: By the word that a backend begins with.
ENGINES: dict[str, Capabilities] = {
    "processes": _engine("processes", "", "concurrent isolated closed prompt"),
    "threads": _engine("threads", "kill stop memory_limit max_tasks_per_child", "concurrent closed prompt"),
    "sync": _engine("sync", "kill stop memory_limit max_tasks_per_child", "closed prompt"),
    "tcp": _engine("tcp, tls", "kill max_tasks_per_child initializer", "concurrent isolated prompt"),
    "dask": _engine(
        "dask", "kill stop backoff limits memory_limit max_tasks_per_child initializer channel", "concurrent isolated"
    ),
    "ray": _engine(
        "ray",
        "kill backoff limits memory_limit max_tasks_per_child initializer channel priority workers",
        "concurrent isolated",
    ),
}  # fmt: skip


def table() -> str:
    """The table of the documentation: which feature works where.

    Examples
    --------
    >>> print(table().splitlines()[0])
    | feature | processes | threads | sync | tcp, tls | dask | ray |
    """
    lines = ["| feature | " + " | ".join(engine.title for engine in ENGINES.values()) + " |"]
    lines.append("| --- |" + " --- |" * len(ENGINES))
    offered = [FEATURES.keys() - engine.lacks | engine.traits for engine in ENGINES.values()]
    for name, meaning in {**FEATURES, **TRAITS}.items():
        marks = ["yes" if name in each else "no" for each in offered]
        lines.append(f"| {meaning} | " + " | ".join(marks) + " |")
    return "\n".join(lines)
