"""``python -m mgcore`` starts the command line of :mod:`mgcore.lab`; nothing else is here."""

import sys

from mgcore.lab.cli import main

if __name__ == "__main__":
    sys.exit(main())
