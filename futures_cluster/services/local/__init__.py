"""A scheduler and worker processes on this machine, behind one client."""
