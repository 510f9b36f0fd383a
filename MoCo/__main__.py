"""`python -m MoCo`."""

import sys

from MoCo.main import main

if __name__ == "__main__":
    sys.exit(main())
