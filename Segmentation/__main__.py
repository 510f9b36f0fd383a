"""`python -m Segmentation`."""

import sys

from Segmentation.main import main

if __name__ == "__main__":
    sys.exit(main())
