"""`python -m SimCLR`."""

import sys

from SimCLR.main import main

if __name__ == "__main__":
    sys.exit(main())
