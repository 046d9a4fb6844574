"""`python -m harness`: see harness.cli."""

import os
import sys

# Before lm-eval is first imported: its progress bars would tear ours.
os.environ["TQDM_DISABLE"] = "1"

from harness.cli import main

sys.exit(main())
