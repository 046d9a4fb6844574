"""Which versions took part in a run."""

import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from harness.places import ROOT

UNKNOWN = "unknown"
# NVIDIA's, and Ascend's (not run: this project has no NPU).
DRIVERS = (Path("/proc/driver/nvidia/version"), Path("/usr/local/Ascend/driver/version.info"))
PACKAGES = ("lm-eval", "datasets", "httpx", "numpy", "scipy")


def harness_versions(sglang: str) -> dict[str, str]:
    """Return the versions of what runs on the harness's side, and of SGLang as its interpreter reports it."""
    found = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "sglang": sglang,
        "harness": _commit(),
        "driver": driver(),
    }
    return found | {package: installed(package) for package in PACKAGES}


def installed(package: str) -> str:
    """Return the version of a package beside the harness."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def cpu_model() -> str:
    """Return the processor's name, as the system tells it."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found.group(1) if found else platform.processor() or UNKNOWN


def driver() -> str:
    """Return the first line of what the accelerators' driver says of itself; `none` where there is no such file."""
    for file in DRIVERS:
        try:
            return file.read_text(encoding="utf-8", errors="replace").splitlines()[0]
        except (OSError, IndexError):
            continue
    return "none"


def _commit() -> str:
    """Return the commit of the working tree, marked where files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown: not a git checkout"
    return done.stdout.strip()
