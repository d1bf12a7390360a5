"""``python -m crust`` is the ``crust`` command, and so is the program ``crust``."""

import sys


def main() -> int:
    """Run the command line of this process; the exit code. A Ctrl-C counts while there is more to import as well."""
    try:
        from crust.cli import main as run

        return run()
    except KeyboardInterrupt:
        return 130  # `crust.cli.console.Exit.INTERRUPTED`, which may not be there yet


if __name__ == "__main__":
    sys.exit(main())
