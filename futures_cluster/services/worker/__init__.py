"""In a worker process: executing, storing and serving results, and telling what happens."""
