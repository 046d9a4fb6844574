"""Where things are: the repository, its suites and thresholds, and the cache of prepared models and data.

Imports the standard library only: the numerical suite uses it in another environment.
"""

import os
import re
import sys
from pathlib import Path

NAME = ".cache"
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
IN_REPOSITORY = Path(__file__).resolve().parents[1] / NAME


def cache() -> Path:
    """Return the cache's folder, which need not exist yet."""
    return Path(os.environ.get("HARNESS_CACHE") or IN_REPOSITORY).absolute()


def model_place(path: str) -> str:
    """Return a model's path as a suite gives it, with a leading `.cache/` led to where the cache is."""
    first, *rest = Path(path).parts or ("",)
    return str(cache().joinpath(*rest)) if first == NAME else path


def is_hub_name(path: str) -> bool:
    """Return whether a model's path has the form of a hub's name, `organisation/model`."""
    return not path.startswith((".", "/")) and HUB_NAME.fullmatch(path) is not None


ROOT = Path(__file__).resolve().parent.parent
SUITES = ROOT / "suites" / "accuracy"
TASKS = ROOT / "suites" / "tasks"
THRESHOLDS = ROOT / "thresholds.yaml"
CPU_SHIMS = ROOT / "harness" / "serve" / "cpu_shims"
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
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(folder.name, target_is_directory=True)
    try:
        fresh.replace(folder.parent / link)
    except IsADirectoryError:
        # Somebody's own: no report fails for that.
        fresh.unlink()
        sys.stderr.write(f"{folder.parent / link} is a folder, so it cannot lead to {folder.name}: move it away\n")
