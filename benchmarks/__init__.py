"""Benchmarks of futures_cluster: asv suites (``bench_*``) and the comparison with others (``peers``).

asv finds this package by an import hook of its own, which worker processes do not have; they do get
``sys.path``, so the checkout goes to its end (an installed futures_cluster still comes first).
"""

import os
import sys

_ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # without pathlib, which workers need not import
if _ROOT not in sys.path:
    sys.path.append(_ROOT)
