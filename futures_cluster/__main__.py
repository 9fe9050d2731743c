"""`python -m futures_cluster`: the command line, for where its script is not on the path."""

import sys

from futures_cluster.cli import main

if __name__ == "__main__":
    sys.exit(main())
