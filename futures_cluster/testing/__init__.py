"""For tests of code that uses this package, and of the package itself.

``simulator`` runs the real scheduler and worker machines under a virtual clock, with ``faults`` from a seed.
``engine_checks`` are the promises of an engine as functions that can be run against any.
"""
