"""IO shells around the pure machines: event loops, sockets, processes, threads.

Of ``submit`` in a program that uses processes::

    user's thread        scheduler thread (an asyncio loop)      worker process
    client.submit  --->  mailbox -> SchedulerService -> socket -> WorkerService (loop thread)
                                     SchedulerMachine             WorkerMachine -> slot (main thread)
    Future.result <---   client.deliver <- socket <----------------------------- the slot's thread

``scheduler``, ``worker`` and ``client`` carry out what the machines decide, ``launchers`` and ``fork_server_main``
start processes, ``local`` puts a scheduler and its workers together, ``peers`` fetches data, ``loop_thread`` has the
thread with the loop and the mailbox into it, ``direct_reader`` and ``slots`` let threads that wait read for themselves,
``signals`` keeps Ctrl-C out while they do.
"""
