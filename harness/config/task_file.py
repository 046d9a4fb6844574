"""Which lm-eval task a name stands for, and whether this harness can ask it. Reads YAML alone, not lm-eval."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import YAMLError

from harness.places import TASKS

ASKED = ("multiple_choice", "generate_until")
# lm-eval's own keys for a task's splits.
SPLITS = ("training_split", "validation_split", "test_split")


class TaskRefused(Exception):  # noqa: N818 - a finding about a name, told with its file and key
    """A task that cannot be asked; its message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class TaskFile:
    """A task's definition.

    Attributes:
        path: Its YAML.
        config: What it says, with what it includes; functions by their names.
    """

    path: Path
    config: Mapping[str, Any]

    @property
    def data_files(self) -> dict[str, str] | None:
        """Its own choice of files in a data folder, by split; None for a task of lm-eval's."""
        metadata = self.config.get("metadata")
        files = metadata.get("data_files") if isinstance(metadata, dict) else None
        return dict(files) if isinstance(files, dict) else None

    @property
    def splits(self) -> list[str]:
        """The splits that it reads, that of its questions first."""
        first = [self.config.get(name) for name in ("test_split", "validation_split")]
        every = [*first, self.config.get("fewshot_split"), self.config.get("training_split")]
        return list(dict.fromkeys(str(split) for split in every if split))


def task_names() -> list[str]:
    """Return the names of the tasks in suites/tasks, sorted."""
    return sorted(file.stem for file in TASKS.glob("*.yaml"))


def find_task(name: str, file: Path | None = None) -> TaskFile:
    """Return the task of that name: of a file, of suites/tasks, or of lm-eval's own, in this order.

    Raises:
        TaskRefused: There is none, or it cannot be asked.
    """
    path = file or TASKS / f"{name}.yaml"
    if file is None and not path.is_file():
        path = _registered(name)
    config = _read(path)
    if reason := _why_not(name, config):
        raise TaskRefused(f"{reason} ({path})")
    return TaskFile(path=path, config=config)


def _why_not(name: str, config: Mapping[str, Any]) -> str:
    """Return why a task cannot be asked here; empty where it can."""
    kind = config.get("output_type", "generate_until")
    metrics = [entry.get("metric") for entry in config.get("metric_list") or [] if isinstance(entry, dict)]
    options = config.get("generation_kwargs") or {}
    reasons = {
        "is a group of tasks: name the tasks themselves, each with its own row of thresholds": "group" in config
        or isinstance(config.get("task"), list),
        "is written in Python, which only its own module can ask: give it a YAML definition (`file:`)": "class"
        in config,
        f"is called {config.get('task')!r} in its file: use that name here": config.get("task") != name,
        "scores whole texts (loglikelihood_rolling): the suite's `fidelity` measures what fixed text becomes": kind
        == "loglikelihood_rolling",
        f"is of the kind {kind}: what can be asked is {' or '.join(ASKED)}": kind not in ASKED,
        "normalises by unconditional scores (acc_mutual_info), which are not asked: leave that metric out": (
            "acc_mutual_info" in metrics
        ),
        "runs code that the model wrote (unsafe_code), which this harness never does": config.get("unsafe_code"),
        "shows images or sound: only text can be asked": config.get("doc_to_image") or config.get("doc_to_audio"),
        "asks each question several times (repeats): every answer here is the greedy one, once": (
            int(config.get("repeats") or 1) > 1
        ),
        "samples its answers (do_sample, temperature): arms can be compared by greedy answers alone": (
            options.get("do_sample") or float(options.get("temperature") or 0.0) > 0
        ),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _registered(name: str) -> Path:
    found = _lm_eval_tasks()
    by_name = re.compile(rf"""^["']?(task|group)["']?:\s*["']?{re.escape(name)}["']?\s*(#.*)?$""", re.MULTILINE)
    # The file is most often called as its task is; only otherwise are all of them read.
    for file in [*(file for file in found if file.stem == name), *(file for file in found if file.stem != name)]:
        if by_name.search(file.read_text(encoding="utf-8", errors="replace")):
            return file
    raise TaskRefused(f"is not a task; there are: {', '.join(task_names())}, and those of lm-eval by their names")


@cache
def _lm_eval_tasks() -> tuple[Path, ...]:
    # Not imported: that takes seconds, and this is asked of every suite.
    found = find_spec("lm_eval")
    roots = [Path(root) / "tasks" for root in (found.submodule_search_locations or [])] if found else []
    return tuple(sorted(file for root in roots for file in root.rglob("*.yaml")))


def _read(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read a task's YAML and what it includes, the including file's keys before the included one's."""
    try:
        config = _PLAIN_YAML.load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TaskRefused(f"has no readable file {path}: {error.strerror}") from error
    except (YAMLError, ValueError) as error:
        raise TaskRefused(f"{path} is not YAML: {error}") from error
    if not isinstance(config, dict):
        raise TaskRefused(f"{path} holds no task: see lm-eval's guide to new tasks")
    included = config.pop("include", None)
    merged: dict[str, Any] = {}
    for name in included if isinstance(included, list) else [included] if included else []:
        place = (path.parent / str(name)).resolve()
        if place in seen:
            raise TaskRefused(f"{path} includes itself by way of {name}")
        merged |= _read(place, (*seen, place))
    return merged | config


class _PlainConstructor(SafeConstructor):
    """Reads a task's YAML without importing the functions it names."""


_PlainConstructor.add_constructor("!function", lambda _loader, node: node.value)
_PLAIN_YAML = YAML(typ="safe", pure=True)
_PLAIN_YAML.Constructor = _PlainConstructor
