"""Turns a suite and the user's options into a plan: pure data that says everything a run will do."""

import os
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from harness.config.suite import FidelityRun, Suite
from harness.config.thresholds import FidelityThreshold, Thresholds
from harness.errors import HarnessError
from harness.places import CPU_SHIMS, ROOT, TASKS, model_place
from harness.plan.model_folder import check_model
from harness.plan.plan import (
    AGAIN,
    API_KEY,
    BASELINE,
    CHECK_EVERY,
    COMPRESSED,
    PORT,
    Arm,
    FidelityPlan,
    Plan,
    TaskPlan,
)
from harness.records.run_folder import RunFolder
from harness.strict import Strict

PLUGIN = "tp_compression_harness"
BOUND_CORES = "SGLANG_CPU_OMP_THREADS_BIND"


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
    folder = RunFolder(options.reports.resolve() / run_id)
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
        folder=str(folder.path),
        data=str(data),
        data_manifest=data_manifest,
        arms=[
            make_arm(name, suite, options, model_path=model_path, python=python, folder=folder)
            for name in arm_names(suite, options)
        ],
        tasks={
            name: TaskPlan(
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
        fidelity=_fidelity(suite.fidelity, rows.fidelity, options.limit)
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


def _fidelity(run: FidelityRun, threshold: FidelityThreshold | None, limit: int | None) -> FidelityPlan:
    return FidelityPlan(
        texts={source: min(count, limit or count) for source, count in run.texts.items()},
        max_tokens=run.max_tokens,
        top_k=run.top_k,
        concurrency=run.concurrency,
        threshold=threshold,
    )


def arm_names(suite: Suite, options: Options) -> list[str]:
    """Return which arms run, in order; the baseline again comes last, when the machine has drifted if it does."""
    if options.baselines is not None:
        return [BASELINE, *(f"{BASELINE}-{run}" for run in range(2, options.baselines + 1))]
    wanted = suite.noise_floor if options.noise_floor is None else options.noise_floor
    return [BASELINE, COMPRESSED, AGAIN] if wanted else [BASELINE, COMPRESSED]


def make_arm(name: str, suite: Suite, options: Options, *, model_path: str, python: Path, folder: RunFolder) -> Arm:
    """Plan one arm. All differ in where they write, the compressed one in the flag, and none in anything else."""
    compressed = name == COMPRESSED
    engagement = folder.arm(name).engagement
    shims = [str(CPU_SHIMS)] if suite.device == "cpu" else []
    outer = [path for path in (os.environ.get("PYTHONPATH"),) if path]
    env = {
        **suite.server.env,
        "PATH": os.pathsep.join((str(python.parent), os.environ.get("PATH", os.defpath))),
        "PYTHONPATH": os.pathsep.join((*shims, str(options.plugin_path.resolve()), *outer)),
        "HARNESS_PLUGIN_DIR": str(engagement),
        "HARNESS_PLUGIN_CODEC": suite.compression.codec,
        "HARNESS_PLUGIN_ALGORITHM": suite.compression.algorithm,
        CHECK_EVERY: str(suite.compression.live_check.every if options.live_check else 0),
    }
    if suite.compression.claims:
        env["HARNESS_PLUGIN_CLAIMS"] = suite.compression.claims
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
