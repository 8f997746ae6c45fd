"""`python3 -m tpl_package` runs the service."""

import sys

from .app import main

if __name__ == "__main__":
    sys.exit(main())
