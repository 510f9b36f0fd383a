"""`python -m Downstream`."""

import sys

from Downstream.main import main

if __name__ == "__main__":
    sys.exit(main())
