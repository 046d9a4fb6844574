"""Which versions took part in a run."""

import platform
import re
import subprocess
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from harness.places import ROOT

UNKNOWN = "unknown"
# NVIDIA's, and Ascend's (not run: this project has no NPU).
DRIVERS = (Path("/proc/driver/nvidia/version"), Path("/usr/local/Ascend/driver/version.info"))
# Where NVIDIA's driver describes each device, and the files of Ascend's devices (not run).
NVIDIA_DEVICES = Path("/proc/driver/nvidia/gpus")
DEVICE_FILES = Path("/dev")
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


def devices() -> str:
    """Return the host's accelerators, visible or not, each model with its number; `none` without any."""
    told = [file.read_text(errors="replace") for file in sorted(NVIDIA_DEVICES.glob("*/information"))]
    found = Counter(match.group(1) for text in told if (match := re.search(r"^Model:\s*(.+)$", text, re.MULTILINE)))
    if ascend := len(list(DEVICE_FILES.glob("davinci[0-9]*"))):
        found["Ascend"] = ascend
    return ", ".join(f"{count} x {model}" for model, count in sorted(found.items())) or "none"


def _commit() -> str:
    """Return the commit of the working tree, marked where files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown: not a git checkout"
    return done.stdout.strip()
