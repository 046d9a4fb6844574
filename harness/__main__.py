"""`python -m harness`: see harness/cli/."""

import os
import sys

# Before lm-eval is first imported: its progress bars would tear ours.
os.environ["TQDM_DISABLE"] = "1"

try:
    from harness.cli.main import main
except ImportError as error:
    # Python's own exit code for it is 1, which is FAIL here.
    sys.stderr.write(f"ERROR\nthis environment is broken: {error}; remove .nox/harness and start again\n")
    sys.exit(3)

sys.exit(main())
