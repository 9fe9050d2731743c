"""What ``benchmarks/soak.py`` consists of.

``tally``: what is counted. ``jobs``: small programs whose answers are known, and the functions of their tasks.
``places``: where they run, executors of this program or a cluster of commands, and what is done to it. ``growth``:
memory and descriptors over the number of tasks, and what is left at the end.
"""
