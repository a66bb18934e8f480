"""`python -m bittrade_client` is the command `bittrade`."""

import sys

from bittrade_client.cli import main

sys.exit(main())
