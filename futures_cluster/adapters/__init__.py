"""Other libraries on our executor: one module for each library, imported by whoever uses that library."""
