"""Views of the scheduler's state for people: read only, and never on the way of a task."""
