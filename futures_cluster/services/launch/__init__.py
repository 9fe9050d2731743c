"""Starting worker processes and replacing those that end, seen from the process that starts them."""
