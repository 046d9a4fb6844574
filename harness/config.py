"""What people write: suites (what to run) and thresholds (what to accept). Checked before any server starts."""

from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import ConfigDict, Field, model_validator

from harness.assets.data import Source
from harness.errors import ConfigError, HarnessError, Problem
from harness.fidelity.settings import FidelityRun, FidelityThreshold
from harness.yaml_file import Strict, YamlFile

ROOT = Path(__file__).resolve().parent.parent
SUITES = ROOT / "suites" / "accuracy"
TASKS = ROOT / "suites" / "tasks"
THRESHOLDS = ROOT / "thresholds.yaml"

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
FileT = TypeVar("FileT", bound=Strict)


class Model(Strict):
    """The model under test.

    Attributes:
        name: Its name in thresholds.yaml.
        path: A folder (relative ones from the repository's root; `.cache/` is HARNESS_CACHE where that is set) or a
            hub name `organisation/model`.
    """

    name: str
    path: str


class Server(Strict):
    """How both arms' servers are started. Address, port, key, model and the flag itself are added.

    Attributes:
        tp: Tensor-parallel ranks.
        args: Arguments of `sglang serve`.
        env: Environment variables on top of the harness's own environment.
        start_timeout_s: Seconds until a server that is not ready is given up.
    """

    tp: Annotated[int, Field(ge=2)]
    args: list[str]
    env: dict[str, str] = Field(default_factory=dict)
    start_timeout_s: Positive = 600


class LiveCheckOptions(Strict):
    """How much of what is compressed is also summed exactly: see harness.live_check.

    Attributes:
        every: All calls of the first pass that compresses, and then every so many calls; 0 is none. A prime that
            is no model's number of layers gets round to every layer and site.
    """

    every: Annotated[int, Field(ge=0)] = 97


class Compression(Strict):
    """What stands behind the flag. On an NPU it is always SGLang's own code, and codec and algorithm say nothing.

    Attributes:
        codec: A codec of harness.collective, or `module:function`: an implementation under test, which the
            server's Python must be able to import.
        claims: The codec of harness.collective whose bound and bytes an implementation under test claims.
        algorithm: An algorithm of harness.collective.
        live_check: The live check.
    """

    codec: str = "int8_token"
    claims: str | None = None
    algorithm: str = "one_shot"
    live_check: LiveCheckOptions = LiveCheckOptions()

    @model_validator(mode="after")
    def _claims_if_under_test(self) -> Self:
        under_test = ":" in self.codec
        if under_test and self.claims is None:
            raise ValueError(
                f"has an implementation under test, {self.codec}: say with `claims` which codec's bound applies"
            )
        if self.claims is not None and not under_test:
            raise ValueError(f"has `claims` beside the codec {self.codec}, which claims itself: remove it")
        return self


class KnownAnswer(Strict):
    """A question with one right answer, asked before any task: an open port proves nothing.

    Attributes:
        prompt: The text to continue.
        right: The continuation that must be generated, and must be scored above `wrong`.
        wrong: A continuation that must be scored below `right`.
    """

    prompt: str
    right: str
    wrong: str


class TaskRun(Strict):
    """How one task is run.

    Attributes:
        questions: How many of the task's questions, from the first on.
        concurrency: Questions asked at once, as one request; the same in both arms.
        max_new_tokens: Cap on generated tokens, where it differs from the task's own.
        early_stop: Whether the task ends as soon as its verdict is certain.
    """

    questions: Positive
    concurrency: Positive = 1
    max_new_tokens: Positive | None = None
    early_stop: bool = False


class Suite(Strict):
    """One file of suites/accuracy: a model, a device, two servers that differ in compression alone, tasks.

    Attributes:
        fidelity: How far the arms' predictions of fixed text are apart, or None where that is not measured.
        noise_floor: Whether the baseline runs once more by default, to see what changes by itself.
    """

    description: str
    device: Literal["cpu", "cuda", "npu"]
    model: Model
    server: Server
    compression: Compression = Compression()
    known_answer: KnownAnswer
    data: Annotated[Source, Field(strict=False)]
    tasks: Annotated[dict[str, TaskRun], Field(min_length=1)]
    fidelity: FidelityRun | None = None
    noise_floor: bool = False
    request_timeout_s: Positive = 600


class Calibration(Strict):
    """The measurement that a threshold rests on.

    Attributes:
        questions: How many were asked.
        sglang: SGLang's version.
        date: When, as YYYY-MM-DD.
    """

    questions: Positive
    sglang: str
    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]


class Threshold(Strict):
    """What one task's result must be for one model.

    Attributes:
        metric: lm-eval's name of the metric and the filter it is taken from, `metric,filter`.
        floor: Smallest accuracy of the compressed arm, 0 to 1.
        floor_rule: `point`, upstream's: the number itself; `confident`: what the number says with 95 % confidence.
        max_drop: Largest accuracy that compression may cost against the baseline, 0 to 1 (0.02 is 2 points).
        max_flips: Largest share of questions that compression may turn from right to wrong or back, less what
            the baseline does by itself where that was measured, 0 to 1.
        max_truncated: Largest share of answers that ended at the token cap, 0 to 1.
        min_questions: Fewer questions than these decide nothing about floor and drop.
        report_only: The result is shown and judged by nobody.
        protocol: The protocol that the numbers hold for, as the harness words it; another one is refused.
        calibration: The measurement behind the numbers, where there is one.
        source: Where the numbers come from.
    """

    metric: str
    floor: Share | None = None
    floor_rule: Literal["point", "confident"] = "point"
    max_drop: Share | None = None
    max_flips: Share | None = None
    max_truncated: Share | None = None
    min_questions: Positive = 1
    report_only: bool = False
    protocol: str | None = None
    calibration: Calibration | None = None
    source: str

    @property
    def filter(self) -> str:
        """The filter that the metric is taken from."""
        return self.metric.split(",")[1]

    @model_validator(mode="after")
    def _judges_or_reports(self) -> Self:
        judged = self.floor is not None or self.max_drop is not None
        if judged and self.report_only:
            raise ValueError("has `report_only: true` beside a floor or a max_drop: keep one or the other")
        if not judged and not self.report_only:
            raise ValueError("judges nothing: give a `floor` or a `max_drop`, or say `report_only: true`")
        if self.floor_rule != "point" and self.floor is None:
            raise ValueError("has a `floor_rule` and no `floor`: add the floor, or remove the rule")
        if self.calibration is not None and self.protocol is None:
            raise ValueError(
                "has a `calibration` without its `protocol`: a number holds for the protocol it was made with"
            )
        return self


class ModelThresholds(Strict):
    """What is accepted of one model: a row a task, and one for its predictions of fixed text.

    Attributes:
        fidelity: How far the predictions may move; None: a large shift is a warning.
    """

    # Every other key is a task's row, and checked as one.
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Threshold]

    fidelity: FidelityThreshold | None = None

    @property
    def tasks(self) -> dict[str, Threshold]:
        """The tasks' rows, by task."""
        return self.__pydantic_extra__


class Thresholds(Strict):
    """thresholds.yaml: per model, what is accepted and why."""

    models: dict[str, ModelThresholds]


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
    for task in content.tasks:
        if task not in tasks:
            problems.append(suite.problem(("tasks", task), f"is not a task; there are: {', '.join(tasks)}"))
        elif thresholds is not None and (rows is None or task not in rows.tasks):
            message = f"has no row for {content.model.name} in {thresholds.path.name}: add one, if only report_only"
            problems.append(suite.problem(("tasks", task), message))
    for index, argument in enumerate(content.server.args):
        if (name := argument.split("=")[0]) in OWN_ARGUMENTS:
            problems.append(suite.problem(("server", "args", index), f"{name} is set by the harness: remove it"))
    problems += [
        suite.problem(("server", "env", name), "is set by the harness: remove it")
        for name in content.server.env
        if name in OWN_VARIABLES or name.startswith("HARNESS_")
    ]
    return problems


# Arguments that differ between arms or are decided at the start; a suite that set them could make the
# arms unequal or the compression of one of them a matter of luck.
OWN_ARGUMENTS = frozenset(
    (
        "--model-path",
        "--model",
        "--host",
        "--port",
        "--api-key",
        "--device",
        "--tp",
        "--tp-size",
        "--tensor-parallel-size",
        "--enable-quant-communications",
    )
)
# Variables likewise: with them a suite could keep the plugin out of one arm's server, or out of both.
OWN_VARIABLES = frozenset(("PATH", "PYTHONPATH", "SGLANG_PLUGINS"))
