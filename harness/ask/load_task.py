"""Loads lm-eval's tasks with the data of a run in them, and looks at every question before any is asked."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import datasets
from lm_eval.tasks import TaskManager
from ruamel.yaml import YAML

from harness.config.task_file import SPLITS, TaskRefused, find_task
from harness.errors import ConfigError, HarnessError, NotFetchedError, Problem
from harness.plan.plan import TaskPlan
from harness.prepare.folder import limited

# What a scored choice must at least have beside it.
FEWEST_CHOICES = 2
SHOWN = 60


def load_task(name: str, plan: TaskPlan, data: Path) -> Any:  # noqa: ANN401 - lm-eval's task
    """Load a task's YAML and its data.

    Args:
        name: The task.
        plan: What the plan says of it.
        data: The prepared data.

    Raises:
        HarnessError: The data lacks a file, or lm-eval refuses the task.
        NotFetchedError: The task's data is lm-eval's, is not in the hub's cache, and HF_HUB_OFFLINE forbids to ask.
    """
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    try:
        task = find_task(name, Path(plan.file))
    except TaskRefused as error:
        raise HarnessError(f"{name}: {error}") from error
    own = plan.data_files or task.data_files
    changed: dict[str, Any] = {"include": plan.file}
    if own is not None:
        files = {split: str(data / file) for split, file in own.items()}
        if missing := [file for file in files.values() if not Path(file).exists()]:
            raise HarnessError(f"{name}: the data lacks {', '.join(missing)}")
        changed |= _splits(name, task.config, own)
        changed |= {
            "dataset_path": "json",
            "dataset_name": None,
            "dataset_kwargs": {"data_files": files, "cache_dir": str(data / ".arrow")},
        }
    with TemporaryDirectory() as folder:
        # The task's own YAML with the data's place in it.
        with_data = Path(folder) / f"{name}.yaml"
        with with_data.open("w", encoding="utf-8") as out:
            YAML(typ="safe", pure=True).dump(changed, out)
        try:
            return TaskManager(include_defaults=False).load([str(with_data)])["tasks"][name]
        except Exception as error:
            if own is None and datasets.config.HF_HUB_OFFLINE and isinstance(error, ConnectionError):
                named = " ".join(
                    str(task.config[key]) for key in ("dataset_path", "dataset_name") if task.config.get(key)
                )
                raise NotFetchedError(
                    f"{name}: not in the hub's cache, and the hub is not asked: {named}", task=name, what=named
                ) from error
            # lm-eval, jinja and datasets raise errors of all kinds for a task that is broken, some without a word.
            raise HarnessError(f"{plan.file}: lm-eval cannot load the task: {in_words(error)}") from error


def in_words(error: Exception) -> str:
    """Return an exception in a line, its kind before what it says."""
    kind, said = type(error).__name__, " ".join(str(error).split())
    # `datasets` ends a file without rows with a bare StopIteration.
    return f"{kind}: {said}" if said else f"without a word ({kind}): is a file of the data empty or cut off?"


def _splits(name: str, config: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, None]:
    """Return which of a task's splits are to be forgotten, since no file has them.

    Raises:
        HarnessError: The questions' own, or the examples', is among them.
    """
    asked = next((config[key] for key in ("test_split", "validation_split") if config.get(key) in files), None)
    if asked is None:
        wanted = " or ".join(str(config[key]) for key in ("test_split", "validation_split") if config.get(key))
        raise HarnessError(f"{name}: data_files names {', '.join(files)}, the questions are of the split {wanted}")
    shots = config.get("fewshot_split") or (config.get("fewshot_config") or {}).get("split")
    shown = config.get("num_fewshot") or 0
    if shown and (shots or config.get("training_split")) not in files:
        raise HarnessError(
            f"{name}: shows {shown} examples of the split {shots or config.get('training_split')}: data_files has to "
            "name a file for it"
        )
    return {
        key: None for key in (*SPLITS, "fewshot_split") if config.get(key) is not None and config[key] not in files
    }


def check_questions(name: str, task: Any, rows: Sequence[int]) -> None:  # noqa: ANN401 - lm-eval's task
    """Do nothing if each of the first questions can be asked and has an answer.

    Args:
        name: The task.
        task: lm-eval's.
        rows: The numbers, in the data, of those that are asked, in their order.

    Raises:
        ConfigError: Some cannot, or have none; at most ten of a kind are named.
    """
    if task.multiple_input:
        raise HarnessError(f"{name}: gives each choice a prompt of its own, which is not asked here")
    if task.config.output_type == "multiple_choice" and task.multiple_target:
        raise HarnessError(f"{name}: has several right choices a question, by which arms are not compared here")
    problems = []
    for number, document in sorted(zip(rows, range(len(rows)), strict=True)):
        try:
            row = task.eval_docs[document]
            found = list(_wrong(task, row, task.doc_to_text(row)))
        except Exception as error:  # noqa: BLE001 - a template or a function of the task's own, on somebody's row
            found = [f"cannot be made of its row: {in_words(error)}"]
        problems += [Problem(file=Path(name), key=f"question {number + 1}", message=text) for text in found]
    if problems:
        raise ConfigError(list(limited(problems)))


def _wrong(task: Any, document: Mapping[str, Any], text: object) -> Iterator[str]:  # noqa: ANN401 - lm-eval's task
    if not str(text).strip():
        yield "is empty"
    target = task.doc_to_target(document)
    if task.config.output_type != "multiple_choice":
        if target is None or target == [] or not str(target).strip():
            yield "has no answer"
        return
    choices = task.doc_to_choice(document)
    if len(choices) < FEWEST_CHOICES or not all(str(choice).strip() for choice in choices):
        yield f"has no two choices, or an empty one: {str(choices)[:SHOWN]}"
    if right_choice(target, choices) is None:
        yield f"has an answer that is none of its {len(choices)} choices: {str(target)[:SHOWN]!r}"


def right_choice(target: object, choices: list[str]) -> int | None:
    """Return which choice is right, as lm-eval reads a target: a number, or the choice's text; None for none."""
    if isinstance(target, str) and target in choices:
        return choices.index(target)
    if isinstance(target, int | float) or (isinstance(target, str) and target.isdecimal()):
        return int(target) if 0 <= int(target) < len(choices) else None
    return None
