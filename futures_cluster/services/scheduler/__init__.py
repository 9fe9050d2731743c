"""The shells around the scheduler machine: the service, the server that others connect to, and their permissions."""
