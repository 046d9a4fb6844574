"""What people write: suites (what to run) and thresholds (what to accept). Checked before any server starts."""

from pathlib import Path
from typing import TypeVar

from harness.config.suite import Suite
from harness.config.thresholds import Thresholds
from harness.config.yaml_file import YamlFile
from harness.errors import ConfigError, HarnessError, Problem
from harness.places import SUITES, TASKS, THRESHOLDS
from harness.safety import names_secret
from harness.strict import Strict

FileT = TypeVar("FileT", bound=Strict)


def suite_names() -> list[str]:
    """Return the names of all suites, sorted."""
    return sorted(file.stem for file in SUITES.glob("*.yaml"))


def task_names() -> list[str]:
    """Return the names of all tasks, sorted."""
    return sorted(file.stem for file in TASKS.glob("*.yaml"))


def load(suite: str, *, suites: Path = SUITES, thresholds: Path = THRESHOLDS) -> tuple[Suite, Thresholds]:
    """Read a suite and the thresholds and check them, each and against each other.

    Args:
        suite: The suite's name, the stem of its file.
        suites: The folder of suites.
        thresholds: The file of thresholds.

    Raises:
        HarnessError: There is no such suite.
        ConfigError: Everything that is wrong in both files.
    """
    files = {file.stem: file for file in sorted(suites.glob("*.yaml"))}
    if suite not in files:
        raise HarnessError(f"there is no suite {suite!r} in {suites}; there are: {', '.join(files)}")
    problems: list[Problem] = []
    suite_file = _read(files[suite], Suite, problems)
    thresholds_file = _read(thresholds, Thresholds, problems)
    if thresholds_file is not None:
        problems += _unknown_names(thresholds_file, files)
    if suite_file is not None:
        problems += _suite_problems(suite_file, thresholds_file)
    if problems or suite_file is None or thresholds_file is None:
        raise ConfigError(problems)
    return suite_file.content, thresholds_file.content


def _read(path: Path, model: type[FileT], problems: list[Problem]) -> YamlFile[FileT] | None:
    try:
        return YamlFile(path, model)
    except ConfigError as error:
        problems += error.problems
        return None


def _unknown_names(thresholds: YamlFile[Thresholds], suites: dict[str, Path]) -> list[Problem]:
    """Find models that no suite runs and tasks that do not exist: a typing error would never be noticed."""
    models: set[str] = set()
    with_fidelity: set[str] = set()
    unreadable: list[Problem] = []
    for file in suites.values():
        if (suite := _read(file, Suite, unreadable)) is not None:
            models.add(suite.content.model.name)
            if suite.content.fidelity is not None:
                with_fidelity.add(suite.content.model.name)
    tasks = task_names()
    problems = []
    for model, rows in thresholds.content.models.items():
        # A suite that cannot be read may be the one that runs the model.
        if model not in models and not unreadable:
            known = ", ".join(sorted(models))
            problems.append(thresholds.problem(("models", model), f"is the model of no suite; there are: {known}"))
        problems += [
            thresholds.problem(("models", model, task), f"is not a task; there are: {', '.join(tasks)}")
            for task in rows.tasks
            if task not in tasks
        ]
        if rows.fidelity is not None and model in models - with_fidelity and not unreadable:
            message = f"is measured by no suite of {model}: give one the key `fidelity`, or remove this row"
            problems.append(thresholds.problem(("models", model, "fidelity"), message))
    return problems


def _suite_problems(suite: YamlFile[Suite], thresholds: YamlFile[Thresholds] | None) -> list[Problem]:
    problems = []
    content = suite.content
    tasks = task_names()
    rows = thresholds.content.models.get(content.model.name) if thresholds is not None else None
    for task, run in content.tasks.items():
        if task not in tasks:
            problems.append(suite.problem(("tasks", task), f"is not a task; there are: {', '.join(tasks)}"))
        elif rows is not None and rows.pooled is not None and run.early_stop:
            message = f"ends a task early, and the pooled test of {content.model.name} needs all questions: remove it"
            problems.append(suite.problem(("tasks", task, "early_stop"), message))
        elif thresholds is not None and (rows is None or task not in rows.tasks):
            message = f"has no row for {content.model.name} in {thresholds.path.name}: add one, if only report_only"
            problems.append(suite.problem(("tasks", task), message))
    problems += [
        suite.problem(("server", "args", index), why)
        for index, argument in enumerate(content.server.args)
        if (why := _argument_problem(argument.split("=")[0]))
    ]
    problems += [
        suite.problem(
            ("server", "env", name),
            "looks like a secret, which belongs in no file: set it where the harness is started, whose environment "
            "the servers get",
        )
        for name in content.server.env
        if names_secret(name)
    ]
    problems += [
        suite.problem(("server", "env", name), "is set by the harness: remove it")
        for name in content.server.env
        if name in OWN_VARIABLES or name.startswith("HARNESS_")
    ]
    return problems


def _argument_problem(name: str) -> str:
    """Say why a suite may not give an argument; empty where it may."""
    if name in OWN_ARGUMENTS:
        return f"{name} is set by the harness: remove it"
    # SGLang's parser takes any beginning of a name that is no other's.
    if len(name) > len("--") and (own := [whole for whole in sorted(OWN_ARGUMENTS) if whole.startswith(name)]):
        return f"{name} may stand for {own[0]}, which is set by the harness: write arguments in full"
    if name == "--trust-remote-code":
        return (
            "--trust-remote-code runs the model repository's own code as this user: remove it, or say why it is "
            "needed with `model.trust_remote_code`"
        )
    return ""


# Arguments that differ between arms or are decided at the start; a suite that set them could make the
# arms unequal or the compression of one of them a matter of luck.
OWN_ARGUMENTS = frozenset(
    (
        "--model-path",
        "--model",
        "--host",
        "--port",
        "--api-key",
        "--admin-api-key",
        "--config",
        "--revision",
        "--device",
        "--tp",
        "--tp-size",
        "--tensor-parallel-size",
        "--enable-quant-communications",
    )
)


# Variables likewise: with them a suite could keep the plugin out of one arm's server, or out of both.
OWN_VARIABLES = frozenset(("PATH", "PYTHONPATH", "SGLANG_PLUGINS"))
