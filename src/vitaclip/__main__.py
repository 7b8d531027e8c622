"""`python -m vitaclip`, the same as `vitaclip`."""

import sys

from vitaclip.cli import main

if __name__ == "__main__":
    sys.exit(main())
