"""``python -m curricula``."""

import sys

from curricula.cli import main

if __name__ == "__main__":
    sys.exit(main())
