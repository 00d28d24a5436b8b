"""``python -m mgcore`` starts the command line of :mod:`mgcore.lab`, as ``mgcore`` does."""

import sys

from mgcore.lab.cli import main

if __name__ == "__main__":
    sys.exit(main())
