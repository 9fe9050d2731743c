r"""A plugin of pytest that makes our backend one of those which joblib's own tests go through.

Covers: registering it before joblib's test modules collect the names. Does not cover: which of them fail, and why
(``test_joblib.DEVIATIONS``).

    PYTHONPATH=tests python -m pytest -c /dev/null -p adapters.joblib_plugin --pyargs joblib.test.test_parallel \
        -k futures_cluster
"""

from __future__ import annotations

import futures_cluster.adapters.joblib as adapter


def pytest_sessionfinish() -> None:
    """joblib's tests leave the shared executor open."""
    adapter.close()
