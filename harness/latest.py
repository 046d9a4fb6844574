"""Points `latest` to the newest report: one link for every kind, the standard library alone."""

import os
from pathlib import Path

LATEST = "latest"


def point_latest(folder: Path) -> None:
    """Make the link `latest` beside a report's folder lead to it.

    Raises:
        OSError: It cannot be made.
    """
    # Made aside and moved over the old one, so that `latest` never points nowhere.
    fresh = folder.parent / f".{LATEST}-{os.getpid()}"
    fresh.symlink_to(folder.name, target_is_directory=True)
    fresh.replace(folder.parent / LATEST)
