"""What ``benchmarks/peers.py`` consists of.

``tasks``: the functions that run in the workers. ``systems``: one small adapter for each system.
``measures``: what one process does for one measurement. ``driver``: the processes, the rounds and the command
line. ``report``: medians, ratios and tables.
"""
