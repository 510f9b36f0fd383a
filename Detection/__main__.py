"""`python -m Detection`."""

import sys

from Detection.main import main

if __name__ == "__main__":
    sys.exit(main())
