"""For people: collecting what a scheduler and its workers report, and serving the status page."""
