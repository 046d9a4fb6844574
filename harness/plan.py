"""Turns a suite and the user's options into a plan: pure data that says everything a run will do."""

import os
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from harness.cache import model_place
from harness.config import ROOT, TASKS, KnownAnswer, Suite, Threshold, Thresholds
from harness.errors import HarnessError
from harness.fidelity.settings import FidelityPlan
from harness.model_folder import check_model
from harness.sglang_plugin.settings import Settings
from harness.yaml_file import Strict

PORT = "<free port>"
API_KEY = "<random key>"
CPU_SHIMS = ROOT / "harness" / "cpu_shims"
PLUGIN = "tp_compression_harness"
BOUND_CORES = "SGLANG_CPU_OMP_THREADS_BIND"

BASELINE = "baseline"
COMPRESSED = "compressed"
# The first one's settings, started afresh.
AGAIN = "baseline-again"


class Options(Strict):
    """What the user may say on the command line; None means: as the suite says.

    Attributes:
        suite: The suite's name.
        server_python: The interpreter that has SGLang.
        plugin_path: The folder that carries the plugin's entry point (made by nox, see noxfile.py).
        model_path: Another place of the same model.
        limit: At most so many questions a task.
        port: A fixed port for the servers.
        reports: Where the run's folder goes.
        live_check: Whether the suite's live check runs.
        dry_run: Plan even what could not be carried out here.
        noise_floor: Whether the baseline runs once more, to see what changes by itself.
        early_stop: Whether tasks end as soon as their verdict is certain.
        together: Whether the baseline's and the compressed server are up at once, each on devices of its own.
        reuse_baseline: The folder of an earlier run whose baseline is taken instead of measuring it again.
        baselines: For a calibration: how often the baseline runs, and nothing else does.
    """

    suite: str
    server_python: Annotated[Path, Field(strict=False)]
    plugin_path: Annotated[Path, Field(strict=False)]
    model_path: str | None = None
    limit: Annotated[int, Field(gt=0)] | None = None
    port: Annotated[int, Field(gt=0, lt=65536)] | None = None
    reports: Annotated[Path, Field(strict=False)] = ROOT / "reports"
    live_check: bool = True
    dry_run: bool = False
    noise_floor: bool | None = None
    early_stop: bool | None = None
    together: bool = False
    reuse_baseline: Annotated[Path, Field(strict=False)] | None = None
    baselines: Annotated[int, Field(gt=0)] | None = None


class Arm(Strict):
    """One server of the run.

    Attributes:
        name: `baseline`, `compressed` or `baseline-again`; of a calibration also `baseline-2` and so on.
        compressed: Whether the flag is on.
        argv: Its command; PORT and API_KEY stand for what is chosen at the start.
        env: Variables set on top of the harness's own environment.
        engagement: The folder where each rank's plugin writes its log.
    """

    name: str
    compressed: bool
    argv: list[str]
    env: dict[str, str]
    engagement: str

    def command(self, *, port: int, api_key: str) -> list[str]:
        """Return the command with a port and a key in it."""
        chosen = {PORT: str(port), API_KEY: api_key}
        return [chosen.get(argument, argument) for argument in self.argv]

    def environment(self) -> dict[str, str]:
        """Return the whole environment that the server gets."""
        return {**os.environ, **self.env}

    @property
    def settings(self) -> Settings:
        """What its plugin is told."""
        return Settings.from_env(self.env) or Settings(dir=Path(self.engagement))

    @property
    def check_every(self) -> int:
        """The live check's interval in compressed calls; 0 for none, as in an arm that does not compress."""
        return self.settings.check_every if self.compressed else 0

    def shell(self) -> str:
        """Return the command and its variables as one could type them."""
        variables = [f"{name}={shlex.quote(value)}" for name, value in self.env.items()]
        return " \\\n    ".join((*variables, shlex.join(self.argv)))


class Task(Strict):
    """One task of the run.

    Attributes:
        file: Its lm-eval YAML.
        questions: How many questions, from the first on.
        concurrency: Questions asked at once, as one request; the same in both arms.
        max_new_tokens: Cap on generated tokens where the suite overrides the task's own.
        early_stop: Whether the task ends as soon as its verdict is certain.
        judged_tasks: How many tasks of the run are judged by a `max_drop`: FAILs are corrected for it.
        threshold: What is accepted.
    """

    file: str
    questions: int
    concurrency: int
    max_new_tokens: int | None
    early_stop: bool = False
    judged_tasks: int = 1
    threshold: Threshold


class Plan(Strict):
    """Everything a run does, and nothing that it finds out. Written to the run's folder as plan.json.

    Attributes:
        run_id: Name of the run and of its folder.
        suite: The suite's name.
        device: `cpu`, `cuda` or `npu`.
        model: The model's name in thresholds.yaml.
        model_path: Its folder or hub name.
        tp: Tensor-parallel ranks.
        server_python: The interpreter that runs SGLang.
        folder: The run's folder.
        data: The prepared data's folder.
        data_manifest: What the data is and hashes to.
        arms: The arms, in the order they run.
        tasks: The tasks, in the order they run.
        fidelity: The fixed texts that are predicted after the tasks, or None.
        known_answer: Asked before anything else.
        start_timeout_s: Seconds until a server that is not ready is given up.
        request_timeout_s: Seconds until a request counts as failed.
        port: A fixed port, or None for a free one.
        together: Whether the baseline's and the compressed server are up at once.
        reuse_baseline: The folder of the run whose baseline is taken, or None.
        repeat: The command that repeats the run.
        refused: Why the plan could not be carried out on this machine; only a dry run's plan has any.
    """

    run_id: str
    suite: str
    device: str
    model: str
    model_path: str
    tp: int
    server_python: str
    folder: str
    data: str
    data_manifest: dict[str, Any]
    arms: list[Arm]
    tasks: dict[str, Task]
    fidelity: FidelityPlan | None = None
    known_answer: KnownAnswer
    start_timeout_s: int
    request_timeout_s: int
    port: int | None
    together: bool = False
    reuse_baseline: str | None = None
    repeat: str
    refused: list[str] = Field(default_factory=list)

    def arm(self, name: str) -> Arm:
        """Return the arm of that name."""
        return next(arm for arm in self.arms if arm.name == name)


def make_plan(
    suite: Suite,
    thresholds: Thresholds,
    options: Options,
    *,
    data: Path,
    data_manifest: dict[str, Any],
    repeat: str,
    now: datetime | None = None,
) -> Plan:
    """Plan a run.

    Args:
        suite: What to run.
        thresholds: What to accept.
        options: What the user said.
        data: The prepared data's folder.
        data_manifest: Its manifest.
        repeat: The command that repeats the run.
        now: When the run is named after; the present moment if None.

    Raises:
        HarnessError: The model's folder is missing or broken, or the interpreter or the plugin is missing; all
            at once. With `options.dry_run` the plan says so instead.
    """
    run_id = f"{(now or datetime.now(UTC)):%Y%m%d-%H%M%S}-{options.suite}"
    folder = options.reports.resolve() / run_id
    refused: list[str] = []
    model_path = options.model_path or model_place(suite.model.path)
    python = options.server_python.absolute()
    try:
        model_path = check_model(model_path, ROOT)
    except HarnessError as error:
        refused.append(str(error))
    try:
        python = check_interpreter(options.server_python)
    except HarnessError as error:
        refused.append(str(error))
    if not (options.plugin_path / "harness" / "sglang_plugin").is_dir():
        refused.append(f"{options.plugin_path} does not hold the plugin: start through nox, which puts it there")
    if options.together and options.port is not None:
        refused.append("--together needs a port for each server: leave --port out, free ones are found")
    if options.together and options.reuse_baseline is not None:
        refused.append("--together and --reuse-baseline exclude each other: a reused baseline has no server")
    if options.together and suite.device == "cpu" and (why := _shared_cores(suite)):
        refused.append(f"--together takes a core for each rank of both servers, but {why}: leave --together out")
    if refused and not options.dry_run:
        raise HarnessError("\n".join(refused))
    rows = thresholds.models[suite.model.name]
    judged_tasks = sum(rows.tasks[name].max_drop is not None for name in suite.tasks)
    return Plan(
        run_id=run_id,
        suite=options.suite,
        device=suite.device,
        model=suite.model.name,
        model_path=model_path,
        tp=suite.server.tp,
        server_python=str(python),
        folder=str(folder),
        data=str(data),
        data_manifest=data_manifest,
        arms=[
            make_arm(name, suite, options, model_path=model_path, python=python, folder=folder)
            for name in arm_names(suite, options)
        ],
        tasks={
            name: Task(
                file=str(TASKS / f"{name}.yaml"),
                questions=min(task.questions, options.limit or task.questions),
                concurrency=task.concurrency,
                max_new_tokens=task.max_new_tokens,
                early_stop=(task.early_stop if options.early_stop is None else options.early_stop)
                and rows.tasks[name].max_drop is not None,
                judged_tasks=max(1, judged_tasks),
                threshold=rows.tasks[name],
            )
            for name, task in suite.tasks.items()
        },
        # Calibration has no arm to compare with.
        fidelity=suite.fidelity.plan(rows.fidelity, limit=options.limit)
        if suite.fidelity and options.baselines is None
        else None,
        known_answer=suite.known_answer,
        start_timeout_s=suite.server.start_timeout_s,
        request_timeout_s=suite.request_timeout_s,
        port=options.port,
        together=options.together,
        reuse_baseline=str(options.reuse_baseline.resolve()) if options.reuse_baseline else None,
        repeat=repeat,
        refused=refused,
    )


def arm_names(suite: Suite, options: Options) -> list[str]:
    """Return which arms run, in order; the baseline again comes last, when the machine has drifted if it does."""
    if options.baselines is not None:
        return [BASELINE, *(f"{BASELINE}-{run}" for run in range(2, options.baselines + 1))]
    wanted = suite.noise_floor if options.noise_floor is None else options.noise_floor
    return [BASELINE, COMPRESSED, AGAIN] if wanted else [BASELINE, COMPRESSED]


def make_arm(name: str, suite: Suite, options: Options, *, model_path: str, python: Path, folder: Path) -> Arm:
    """Plan one arm. All differ in where they write, the compressed one in the flag, and none in anything else."""
    compressed = name == COMPRESSED
    engagement = folder / name / "engagement"
    shims = [str(CPU_SHIMS)] if suite.device == "cpu" else []
    outer = [path for path in (os.environ.get("PYTHONPATH"),) if path]
    plugin = Settings(
        dir=engagement,
        codec=suite.compression.codec,
        algorithm=suite.compression.algorithm,
        claims=suite.compression.claims,
        check_every=suite.compression.live_check.every if options.live_check else 0,
    )
    env = {
        **suite.server.env,
        "PATH": os.pathsep.join((str(python.parent), os.environ.get("PATH", os.defpath))),
        "PYTHONPATH": os.pathsep.join((*shims, str(options.plugin_path.resolve()), *outer)),
        **plugin.env(),
    }
    if allowed := os.environ.get("SGLANG_PLUGINS"):
        # The user's list of plugins would keep ours out.
        env["SGLANG_PLUGINS"] = f"{allowed},{PLUGIN}"
    argv = [
        str(python.parent / "sglang"),
        "serve",
        "--model-path",
        model_path,
        "--device",
        suite.device,
        "--tp-size",
        str(suite.server.tp),
        "--host",
        "127.0.0.1",
        "--port",
        PORT,
        "--api-key",
        API_KEY,
        *suite.server.args,
    ]
    if compressed:
        argv.append("--enable-quant-communications")
        if options.together and suite.device != "cpu":
            # The devices after the baseline's.
            argv += ["--base-gpu-id", str(suite.server.tp)]
    return Arm(name=name, compressed=compressed, argv=argv, env=env, engagement=str(engagement))


def _shared_cores(suite: Suite) -> str:
    """Say why two servers on this CPU would share cores: they then take ten times as long. Empty where they don't."""
    if bound := suite.server.env.get(BOUND_CORES):
        return f"the suite binds both servers' ranks to the same cores (server.env.{BOUND_CORES}: {bound!r})"
    cores, wanted = len(os.sched_getaffinity(0)), 2 * suite.server.tp
    return f"there are {cores} cores for {wanted} ranks" if cores < wanted else ""


def check_interpreter(python: Path) -> Path:
    """Return the interpreter's absolute path, links left as they are (a virtual environment is one).

    Raises:
        HarnessError: It is not there, or SGLang's command is not beside it.
    """
    # Not resolve(): the link's place is what makes an interpreter that of its virtual environment.
    absolute = Path(os.path.abspath(python))  # noqa: PTH100
    if not absolute.is_file():
        raise HarnessError(f"there is no Python interpreter at {absolute}: name SGLang's with --server-python")
    if not (absolute.parent / "sglang").is_file():
        raise HarnessError(
            f"SGLang's command `sglang` is not beside {absolute}: install SGLang for that interpreter, or name "
            "the one that has it with --server-python"
        )
    return absolute


def repeat_command(arguments: list[str] | None = None) -> str:
    """Return the command line that started this process, as a person would type it again."""
    given = sys.argv[1:] if arguments is None else arguments
    return shlex.join(("nox", "-s", *given[:1], "--", *given[1:]))
