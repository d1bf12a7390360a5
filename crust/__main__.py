"""``python -m crust`` is the ``crust`` command."""

import sys

from crust.cli import main

if __name__ == "__main__":
    sys.exit(main())
