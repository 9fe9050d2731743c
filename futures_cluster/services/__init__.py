"""IO shells around the pure machines: event loops, sockets, processes, threads.

Of ``submit`` in a program that uses processes::

    user's thread        scheduler thread (an asyncio loop)      worker process
    client.submit  --->  mailbox -> SchedulerService -> socket -> WorkerService (loop thread)
                                     SchedulerMachine             WorkerMachine -> slot (main thread)
    Future.result <---   client.deliver <- socket <----------------------------- the slot's thread

The folders are the processes: ``scheduler``, ``worker`` and ``client`` carry out what the machines decide, ``launch``
starts processes, ``observe`` collects for the status page, ``local`` puts a scheduler and its workers together, and
``common`` has what several of them use. Of ``common``, ``peers`` fetches data, ``loop_thread`` has the thread with the
loop and the mailbox into it, and ``signals`` keeps Ctrl-C out where a thread drives a machine. ``direct_reader`` and
``slots`` let threads that wait read for themselves.
"""
