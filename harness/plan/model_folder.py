"""Looks at a model's folder before any server does: a missing or cut-off file costs a second, not minutes."""

import json
import struct
from pathlib import Path

from harness.errors import ConfigError, HarnessError, Problem
from harness.places import is_hub_name

NO_FOLDER = "there is no model folder at"
_HEADER_SIZE = struct.Struct("<Q")


def check_model(path: str, root: Path) -> str:
    """Return what to give to SGLang for `path`: an absolute folder, or a hub name as it is.

    Args:
        path: A folder, absolute or relative to `root`, or a hub name `organisation/model`.
        root: What relative folders are relative to.

    Raises:
        HarnessError: There is no such folder and it is no hub name.
        ConfigError: The folder lacks files or holds cut-off ones; all problems at once.
    """
    folder = root / path
    if folder.is_dir():
        if problems := folder_problems(folder):
            raise ConfigError(problems)
        return str(folder.resolve())
    if not is_hub_name(path):
        raise HarnessError(f"{NO_FOLDER} {folder}: prepare it, or name another with --model-path")
    return path


def folder_problems(folder: Path) -> list[Problem]:
    """Return everything that is wrong with a Hugging Face model folder."""
    problems = []
    config = folder / "config.json"
    try:
        json.loads(config.read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(Problem(file=config, message=f"cannot be read: {error.strerror}"))
    except ValueError as error:
        problems.append(Problem(file=config, message=f"is not JSON: {error}"))
    if not any((folder / name).exists() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        problems.append(Problem(file=folder, message="holds no tokenizer"))
    weights = sorted(folder.glob("*.safetensors"))
    if not weights and not any(folder.glob("*.bin")):
        problems.append(Problem(file=folder, message="holds no weights (*.safetensors or *.bin)"))
    problems += [problem for file in weights if (problem := weights_problem(file))]
    return problems + shard_problems(folder / "model.safetensors.index.json")


def layers_of(path: str) -> int | None:
    """Return how many decoder layers a model's config.json names; None where it names none, or is not there."""
    try:
        config = json.loads((Path(path) / "config.json").read_text(encoding="utf-8"))
        # Of a model that takes more than text, the language model's own part.
        found = {**config, **config.get("text_config", {})}.get("num_hidden_layers")
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return found if isinstance(found, int) else None


def shard_problems(index: Path) -> list[Problem]:
    """Return which files of weights that the index names are missing; nothing without an index."""
    if not index.exists():
        return []
    try:
        shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        missing = [shard for shard in shards if not (index.parent / shard).is_file()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [Problem(file=index, message=f"is not an index of weights: {error!r}")]
    return [Problem(file=index.parent / shard, message=f"is missing, {index.name} names it") for shard in missing]


def weights_problem(file: Path) -> Problem | None:
    """Return what is wrong with a safetensors file, by its own header: is it as long as it says?"""
    size = file.stat().st_size
    try:
        with file.open("rb") as content:
            (header_size,) = _HEADER_SIZE.unpack(content.read(_HEADER_SIZE.size))
            if header_size > size:
                return Problem(file=file, message="is not a safetensors file: its header is longer than the file")
            header = json.loads(content.read(header_size))
        last = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        return Problem(file=file, message=f"is not a safetensors file: {error}")
    expected = _HEADER_SIZE.size + header_size + int(last)
    if size != expected:
        return Problem(file=file, message=f"is {size} bytes long, its header says {expected}: copy it again")
    return None
