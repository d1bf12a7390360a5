"""See `tests.attack.report`."""

import sys

from tests.attack.report import main

if __name__ == "__main__":
    sys.exit(main())
