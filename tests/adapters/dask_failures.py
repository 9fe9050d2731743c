"""Dask's own tests that cannot pass on an executor, each with the reason.

Keys are the beginnings of names ``module::test``; the failures of Dask's threaded scheduler itself are not here.
"""

from __future__ import annotations

EXPECTED: dict[str, str] = {}
