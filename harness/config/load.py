"""What people write: suites (what to run) and thresholds (what to accept). Checked before any server starts."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from harness.config.suite import Suite, TaskRun
from harness.config.task_file import TaskFile, TaskRefused, find_task
from harness.config.thresholds import Threshold, Thresholds
from harness.config.yaml_file import YamlFile
from harness.errors import ConfigError, HarnessError, Problem
from harness.places import SUITES, THRESHOLDS
from harness.safety import names_secret
from harness.strict import Strict

FileT = TypeVar("FileT", bound=Strict)
OWN_THRESHOLDS = "thresholds.yaml"


def suite_names() -> list[str]:
    """Return the names of all suites of the project, sorted."""
    return sorted(file.stem for file in SUITES.glob("*.yaml"))


def is_path(suite: str) -> bool:
    """Return whether a suite is named by its file, not by its name."""
    return "/" in suite or suite.endswith((".yaml", ".yml"))


def suite_label(suite: str) -> str:
    """Return what a suite is called in reports: its name, or its file's."""
    return Path(suite).stem if is_path(suite) else suite


def suite_file(suite: str, suites: Path | None = None) -> Path:
    """Return a suite's file.

    Args:
        suite: A name in `suites`, or a file's path.
        suites: The folder of suites; the project's if None.

    Raises:
        HarnessError: There is no such suite.
    """
    suites = suites or SUITES
    if is_path(suite):
        path = Path(suite).absolute()
        if not path.is_file():
            raise HarnessError(f"there is no suite {path}: `nox -s new` writes one to fill in")
        return path
    files = {file.stem: file for file in suites.glob("*.yaml")}
    if suite not in files:
        raise HarnessError(f"there is no suite {suite!r} in {suites}; there are: {', '.join(sorted(files))}")
    return files[suite]


def read_suite(suite: str) -> Suite:
    """Read a suite alone, without thresholds.

    Raises:
        HarnessError: There is none, or something is wrong with it.
    """
    return YamlFile(suite_file(suite), Suite).content


def judges(suite: str) -> bool:
    """Return whether a suite's thresholds judge anything; True too where they are wrong, as its run will say."""
    try:
        content, thresholds = load(suite)
    except ConfigError:
        return True
    rows = thresholds.models[content.model.name]
    predictions = content.fidelity is not None and rows.fidelity is not None and rows.fidelity.judges
    return predictions or not all(rows.tasks[task].report_only for task in content.tasks)


def default_thresholds(suite: str) -> Path:
    """Return a suite's thresholds where none are named: those beside a suite's own file, or the project's."""
    beside = Path(suite).absolute().parent / OWN_THRESHOLDS
    return beside if is_path(suite) and beside.is_file() else THRESHOLDS


def load(suite: str, *, suites: Path = SUITES, thresholds: Path | None = None) -> tuple[Suite, Thresholds]:
    """Read a suite and the thresholds and check them, each and against each other.

    Args:
        suite: The suite's name, the stem of its file; or a file's path. What such a file names relatively is beside
            it and comes back absolute.
        suites: The folder of suites.
        thresholds: The file of thresholds; if None a `thresholds.yaml` beside a suite given by its path, or else
            the project's.

    Raises:
        HarnessError: There is no such suite.
        ConfigError: Everything that is wrong in both files.
    """
    path = suite_file(suite, suites)
    chosen = thresholds or default_thresholds(suite)
    problems: list[Problem] = []
    checked = _read(path, Suite, problems)
    accepted = _read(chosen, Thresholds, problems)
    if accepted is not None:
        everybodys = chosen == THRESHOLDS or suites != SUITES
        problems += _unknown_names(accepted, checked, sorted(suites.glob("*.yaml")) if everybodys else None)
    if checked is not None:
        problems += _suite_problems(checked, accepted)
    if problems or checked is None or accepted is None:
        raise ConfigError(problems)
    return _absolute(checked.content, path.parent), accepted.content


def task_of(name: str, run: TaskRun, beside: Path | None = None) -> TaskFile:
    """Return the definition of a suite's task.

    Args:
        name: The task.
        run: What the suite says of it.
        beside: The suite's folder, which a relative `file` is in.

    Raises:
        TaskRefused: There is none, or it cannot be asked.
    """
    if run.file is None:
        return find_task(name)
    return find_task(name, beside / run.file if beside is not None else Path(run.file))


def _absolute(suite: Suite, folder: Path) -> Suite:
    """Return a suite with the places that its file names relatively, beside it."""

    def beside(place: str) -> str:
        # What is not there stays as it is: a hub's name, a module's.
        return str(folder / place) if (folder / place).exists() else place

    compression = suite.compression
    file, colon, function = compression.codec.rpartition(":")
    codec = beside(file) + colon + function if colon else compression.codec
    policy = beside(compression.policy) if compression.policy is not None else None
    data = str(folder / suite.data_folder) if suite.data_folder is not None else None
    tasks = {
        name: task.model_copy(update={"file": str(folder / task.file)}) if task.file is not None else task
        for name, task in suite.tasks.items()
    }
    return suite.model_copy(
        update={
            "model": suite.model.model_copy(update={"path": beside(suite.model.path)}),
            "compression": compression.model_copy(update={"codec": codec, "policy": policy}),
            "data_folder": data,
            "tasks": tasks,
        }
    )


def _read(path: Path, model: type[FileT], problems: list[Problem]) -> YamlFile[FileT] | None:
    try:
        return YamlFile(path, model)
    except ConfigError as error:
        problems += error.problems
        return None


def _unknown_names(
    thresholds: YamlFile[Thresholds], suite: YamlFile[Suite] | None, files: list[Path] | None
) -> list[Problem]:
    """Find models that no suite runs and tasks that do not exist: a typing error would never be noticed.

    Args:
        thresholds: The file of thresholds.
        suite: The suite that is run.
        files: Every suite that the thresholds are for; None where nobody knows them, for somebody's own thresholds.
    """
    unreadable: list[Problem] = []
    read = [_read(file, Suite, unreadable) for file in files or []]
    known = [file.content for file in (*read, suite) if file is not None]
    models = {content.model.name for content in known}
    with_fidelity = {content.model.name for content in known if content.fidelity is not None}
    # A suite that cannot be read may be the one that runs the model.
    all_known = files is not None and not unreadable
    problems = []
    for model, rows in thresholds.content.models.items():
        if all_known and model not in models:
            there = ", ".join(sorted(models))
            problems.append(thresholds.problem(("models", model), f"is the model of no suite; there are: {there}"))
        own = {name for content in known if content.model.name == model for name in content.tasks}
        for task in sorted(rows.tasks.keys() - own) if all_known or model in models else ():
            try:
                find_task(task)
            except TaskRefused as error:
                problems.append(thresholds.problem(("models", model, task), str(error)))
        if rows.fidelity is not None and all_known and model in models - with_fidelity:
            message = f"is measured by no suite of {model}: give one the key `fidelity`, or remove this row"
            problems.append(thresholds.problem(("models", model, "fidelity"), message))
    return problems


def _suite_problems(suite: YamlFile[Suite], thresholds: YamlFile[Thresholds] | None) -> list[Problem]:
    problems = []
    content = suite.content
    rows = thresholds.content.models.get(content.model.name) if thresholds is not None else None
    for task, run in content.tasks.items():
        try:
            task_of(task, run, suite.path.parent)
        except TaskRefused as error:
            problems.append(suite.problem(("tasks", task), str(error)))
            continue
        row = rows.tasks.get(task) if rows is not None else None
        if thresholds is not None and row is None:
            message = f"has no row for {content.model.name} in {thresholds.path.name}: add one, if only report_only"
            problems.append(suite.problem(("tasks", task), message))
        if rows is not None and rows.pooled is not None and run.early_stop:
            message = f"ends a task early, and the pooled test of {content.model.name} needs all questions: remove it"
            problems.append(suite.problem(("tasks", task, "early_stop"), message))
        elif row is not None:
            problems += [suite.problem(("tasks", task, key), message) for key, message in _never(run, row)]
    problems += [
        suite.problem(("server", "args", index), why)
        for index, argument in enumerate(content.server.args)
        if (why := _argument_problem(argument))
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


def _never(run: TaskRun, row: Threshold) -> Iterator[tuple[str, str]]:
    """Yield what a suite asks of a task that its thresholds never let happen: key and message."""
    if run.questions < row.min_questions:
        fewest = f"fewer than min_questions ({row.min_questions}) decide nothing"
        yield "questions", f"is {run.questions}, and {fewest}: ask as many, or lower the row's min_questions"
    if not run.early_stop:
        return
    if row.max_drop is None:
        yield "early_stop", "ends a task once its drop is certain, and the row has no max_drop: leave it out"
    elif run.questions == row.min_questions:
        fewest = f"nothing is looked at before min_questions ({row.min_questions}), which is all of them"
        yield "early_stop", f"can never end the task: {fewest}: ask more, or leave it out"


def _argument_problem(argument: str) -> str:
    """Say why a suite may not give an argument; empty where it may."""
    name, *more = argument.split("=", maxsplit=1)[0].split() or [""]
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
    if more and name.startswith("-"):
        return f"is one argument with a space in it: write {name}={' '.join(more)}, or two items of the list"
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
