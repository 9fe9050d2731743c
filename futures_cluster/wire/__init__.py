"""From objects to bytes and from process to process; no scheduling.

``frames`` (pure) packs messages, ``codec.payloads`` objects, ``shm`` holds large buffers in shared memory, ``sizeof``
estimates sizes, ``sockets`` moves frames.
"""
