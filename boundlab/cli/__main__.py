"""python -m boundlab.cli."""

import sys

from boundlab.cli import main

if __name__ == "__main__":
    sys.exit(main())
