"""Objects that clients share at the scheduler, channels among them, and the tasks whose results they pin."""
