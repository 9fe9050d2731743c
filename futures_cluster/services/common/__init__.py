"""What several processes share: threads with loops, connections, security, signals, the end of a process."""
