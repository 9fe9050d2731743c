"""Benchmarks of futures_cluster: asv suites (``bench_*``) and the comparison with others (``peers``).

asv finds this package by an import hook of its own, which worker processes do not have; they do get
``sys.path``, so the checkout goes to its end (an installed futures_cluster still comes first).
"""

import sys
from pathlib import Path

_ROOT = str(Path(__file__).resolve().parent.parent)
if _ROOT not in sys.path:
    sys.path.append(_ROOT)
