"""Points a link to the newest report of its kind. The standard library alone."""

import os
from pathlib import Path

LATEST = "latest"


def point_latest(folder: Path, link: str = LATEST) -> None:
    """Make a link beside a report's folder lead to it.

    Args:
        folder: The report's folder.
        link: The link's name: `latest` for runs, another for each other kind of report.

    Raises:
        OSError: It cannot be made.
    """
    # Made aside and moved over the old one, so that the link never points nowhere.
    fresh = folder.parent / f".{link}-{os.getpid()}"
    fresh.symlink_to(folder.name, target_is_directory=True)
    fresh.replace(folder.parent / link)
