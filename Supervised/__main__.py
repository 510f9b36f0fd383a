"""`python -m Supervised`."""

import sys

from Supervised.main import main

if __name__ == "__main__":
    sys.exit(main())
