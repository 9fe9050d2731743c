"""A worker as a pure state machine: which runs start, what is fetched for them, what is reported.

``replicas`` is the data side, ``runs`` the execution side, ``machine`` the one entry that changes both,
``invariants`` the check. Threads, sockets and the data itself are in ``services.worker.service``.
"""
