"""A fleet's matrix, suites/fleet/NAME.yaml: which suites run with which compression on which releases."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from harness.config.load import is_path, load
from harness.config.policy import read_policy
from harness.config.yaml_file import KeyPath, YamlFile
from harness.errors import ConfigError, HarnessError, Problem
from harness.fleet.records import Needs
from harness.fleet.relocate import relocate
from harness.places import ROOT
from harness.plan.plan import BASELINE, Plan
from harness.strict import Positive, Strict

FLEETS = ROOT / "suites" / "fleet"
OWN = "the suite's own"
# One a host: a CPU server takes all cores that its suite binds it to.
CPU_SERVER = "harness_cpu_server"


class Row(Strict):
    """Runs of one kind: every suite with every compression on every release.

    Attributes:
        suites: Suites by name or file, a relative one from the repository's root.
        codecs: Codecs in place of the suites' own.
        policies: Files of policies in place of a codec. Without either the suites' own compression runs.
        sglang: Releases of SGLang, as `nox -s accuracy -- --sglang` knows them; none: the usual interpreter.
        server_python: The interpreter that has SGLang, in place of a release.
        thresholds: A file of thresholds in place of the usual one.
        limit: At most so many questions a task.
        noise_floor: Whether the baseline runs once more; None: as the suite says.
        early_stop: Whether tasks end once their verdict is certain; None: as the suite says.
        priority: Higher ones run first.
        same_host: Whether a run's arms all run on one host. If not, its hosts must be alike.
        shards: Among how many servers each arm's questions are divided; each shard's arms are a pair of its own.
        memory_gib: Memory that a host must have free for an arm.
        resources: What else of Ray's resources an arm needs, such as `model:NAME`.
    """

    suites: Annotated[list[str], Field(min_length=1)]
    codecs: list[str] = Field(default_factory=list)
    policies: list[str] = Field(default_factory=list)
    sglang: list[str] = Field(default_factory=list)
    server_python: str | None = None
    thresholds: str | None = None
    limit: Positive | None = None
    noise_floor: bool | None = None
    early_stop: bool | None = None
    priority: int = 0
    same_host: bool = True
    shards: Positive = 1
    memory_gib: Annotated[float, Field(ge=0)] = 0.0
    resources: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_interpreter(self) -> "Row":
        if self.sglang and self.server_python is not None:
            raise ValueError("sglang and server_python both name an interpreter: leave one of them out")
        return self


class Matrix(Strict):
    """What a fleet is to run.

    Attributes:
        description: What it is for.
        runs: Its rows.
    """

    description: str = ""
    runs: Annotated[list[Row], Field(min_length=1)]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One run that a matrix asks for.

    Attributes:
        key: Where in the matrix it stands.
        row: Its row.
        suite: Its suite, by name or absolute file.
        codec: Its codec, None for the suite's own compression or a policy.
        policy: The file of its policy.
        release: Its release of SGLang; None for the usual interpreter.
    """

    key: KeyPath
    row: Row
    suite: str
    codec: str | None
    policy: Path | None
    release: str | None

    @property
    def compression(self) -> str:
        """Its compression in a word."""
        return self.codec or (self.policy.stem if self.policy else OWN)

    @property
    def thresholds(self) -> Path | None:
        """The file of thresholds that is named for it."""
        return _absolute(self.row.thresholds) if self.row.thresholds is not None else None

    @property
    def arguments(self) -> list[str]:
        """The command `accuracy` that does the same on one host."""
        row = self.row
        valued = {
            "--suite": self.suite,
            "--thresholds": self.thresholds,
            "--codec": self.codec,
            "--policy": self.policy,
            "--sglang": self.release,
            "--server-python": row.server_python,
            "--limit": row.limit,
        }
        said = [text for name, value in valued.items() if value is not None for text in (name, str(value))]
        switches = {"noise-floor": row.noise_floor, "early-stop": row.early_stop}
        said += [f"--{'' if on else 'no-'}{name}" for name, on in switches.items() if on is not None]
        return ["accuracy", *said]


def matrix_file(named: str) -> Path:
    """Return a matrix' file.

    Args:
        named: A name in suites/fleet, or a file's path.

    Raises:
        HarnessError: There is none.
    """
    file = Path(named).absolute() if is_path(named) else FLEETS / f"{named}.yaml"
    if not file.is_file():
        there = ", ".join(sorted(found.stem for found in FLEETS.glob("*.yaml")))
        raise HarnessError(f"there is no matrix {named!r}: name a file, or one of suites/fleet: {there}")
    return file


def releases(matrix: Matrix) -> list[str]:
    """Return every release of SGLang that a matrix names."""
    return sorted({release for row in matrix.runs for release in row.sglang})


def read_matrix(file: Path) -> tuple[YamlFile[Matrix], list[Wanted]]:
    """Read a matrix and check what it names.

    Returns:
        The file, and the runs that it asks for, in its order.

    Raises:
        ConfigError: Everything that is wrong in it.
    """
    matrix = YamlFile(file, Matrix)
    problems: list[Problem] = []
    wanted: dict[tuple[str, ...], Wanted] = {}
    for index, row in enumerate(matrix.content.runs):
        for one in _runs(matrix, ("runs", index), row, problems):
            if tuple(one.arguments) in wanted:
                problems.append(matrix.problem(one.key, f"asks for {one.suite} with {one.compression} a second time"))
            wanted[tuple(one.arguments)] = one
    if problems:
        raise ConfigError(problems)
    return matrix, list(wanted.values())


def needs_of(plan: Plan, row: Row) -> Needs:
    """Return what a host must have free for an arm of a plan."""
    needs = device_needs(plan.device, 1 if plan.arms[0].settings.one_gpu else plan.tp)
    more = {"memory_gib": row.memory_gib, "resources": needs.resources | row.resources}
    return needs.model_copy(update=more)


def device_needs(device: str, count: int) -> Needs:
    """Return what a host must have free for a server on so many devices: on a CPU, room for one server."""
    of_device = {"cpu": {CPU_SERVER: 1.0}, "npu": {"NPU": float(count)}}.get(device, {})
    return Needs(gpus=float(count) if device == "cuda" else 0.0, resources=of_device)


def baseline_key(plan: Plan, shards: int) -> str:
    """Return the key of a plan's baseline: the same for plans whose baselines do the same, whatever is compressed.

    What the plugin is told is left out, as of a fingerprint: where nothing is compressed it counts, and no more.
    """
    arm = relocate(plan, Path("/")).arm(BASELINE)
    env = {name: value for name, value in sorted(arm.env.items()) if not name.startswith("HARNESS_")}
    kept = {"device", "model_path", "tp", "server_python", "data", "data_manifest", "tasks", "fidelity"}
    told = plan.model_dump_json(include=kept | {"known_answer", "request_timeout_s", "sites"})
    return f"{plan.suite}-{sha256(f'{arm.argv} {env} {told} {shards}'.encode()).hexdigest()[:12]}.{BASELINE}"


def _runs(matrix: YamlFile[Matrix], key: KeyPath, row: Row, problems: list[Problem]) -> Iterator[Wanted]:
    """Yield a row's runs and note what is wrong with it."""
    suites: Mapping[KeyPath, str] = {
        (*key, "suites", index): str(_absolute(suite)) if is_path(suite) else suite
        for index, suite in enumerate(row.suites)
    }
    thresholds = _absolute(row.thresholds) if row.thresholds is not None else None
    for where, suite in suites.items():
        try:
            load(suite, thresholds=thresholds)
        except HarnessError as error:
            problems.append(matrix.problem(where, str(error)))
    policies = [_absolute(policy) for policy in row.policies]
    for index, file in enumerate(policies):
        try:
            read_policy(file)
        except HarnessError as error:
            problems.append(matrix.problem((*key, "policies", index), str(error)))
    compressions: list[tuple[str | None, Path | None]] = [
        *((codec, None) for codec in row.codecs),
        *((None, file) for file in policies),
    ]
    named: list[str | None] = [*row.sglang] or [None]
    for (where, suite), (codec, policy), release in product(suites.items(), compressions or [(None, None)], named):
        yield Wanted(key=where, row=row, suite=suite, codec=codec, policy=policy, release=release)


def _absolute(file: str) -> Path:
    return Path(file) if Path(file).is_absolute() else ROOT / file
