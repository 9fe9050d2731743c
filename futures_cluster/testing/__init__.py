"""For tests of code that uses this package, and of the package itself.

``simulation`` runs the real scheduler and worker machines under a virtual clock, on a ``network`` that can be cut, with
``faults`` from a seed (``mishaps`` carries them out); ``checks`` finds what is wrong. ``workloads`` are graphs,
``report`` says how they went, and ``baseline`` is a simple scheduler to compare with.
``engine_checks`` are the promises of an engine as functions that can be run against any.
"""
