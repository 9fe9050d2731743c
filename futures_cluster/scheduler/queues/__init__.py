"""Queues of tasks that wait: in fair shares between clients, and by the workers that they may run on."""
