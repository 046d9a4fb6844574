"""Turns a suite and the user's options into a plan: pure data that says everything a run will do."""

import os
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.config.load import default_thresholds, is_path, load, suite_label, task_of
from harness.config.policy import read_policy
from harness.config.suite import Compression, FidelityRun, Suite, TaskRun
from harness.config.thresholds import FidelityThreshold, Thresholds
from harness.errors import HarnessError
from harness.places import ROOT, model_place
from harness.plan.arms import arm_names, make_arm, shared_cores
from harness.plan.model_folder import check_model
from harness.plan.options import Options
from harness.plan.plan import Chat, FidelityPlan, Plan, TaskPlan
from harness.records.run_folder import RunFolder

# Variables of the user's that decide what runs: without them a command typed again is another.
REPEATED = ("PYTHONPATH", "HARNESS_CACHE")
INTERPRETER = "HARNESS_SERVER_PYTHON"


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
    label = suite_label(options.suite)
    run_id = f"{moment(now)}-{label}"
    folder = RunFolder(options.reports.resolve() / run_id)
    model_path, python, refused = check_places(
        options.model_path or model_place(suite.model.path), options.server_python
    )
    if not (options.plugin_path / "harness" / "sglang_plugin").is_dir():
        refused.append(f"{options.plugin_path} does not hold the plugin: start through nox, which puts it there")
    if options.together and options.port is not None:
        refused.append("--together needs a port for each server: leave --port out, free ones are found")
    if options.together and options.reuse_baseline is not None:
        refused.append("--together and --reuse-baseline exclude each other: a reused baseline has no server")
    if options.together and suite.device == "cpu" and (why := shared_cores(suite)):
        refused.append(f"--together takes a core for each rank of both servers, but {why}: leave --together out")
    rows = thresholds.models[suite.model.name]
    if options.early_stop and rows.pooled is not None:
        refused.append(f"--early-stop leaves out questions that {suite.model.name}'s pooled test needs: leave it out")
    if refused and not options.dry_run:
        raise HarnessError("\n".join(refused))
    suite = with_codec(suite, options)
    policy = read_policy(options.policy or suite.compression.policy)
    return Plan(
        run_id=run_id,
        suite=label,
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
                file=str(task_of(name, task).path),
                questions=min(task.questions, options.limit or task.questions),
                concurrency=task.concurrency,
                max_new_tokens=task.max_new_tokens,
                early_stop=(task.early_stop if options.early_stop is None else options.early_stop)
                and rows.tasks[name].max_drop is not None,
                data_files=task.data_files,
                chat=_chat(task),
                threshold=rows.tasks[name],
            )
            for name, task in suite.tasks.items()
        },
        pooled=rows.pooled,
        # Calibration has no arm to compare with.
        fidelity=_fidelity(suite.fidelity, rows.fidelity, options.limit)
        if suite.fidelity and options.baselines is None
        else None,
        known_answer=suite.known_answer,
        start_timeout_s=suite.server.start_timeout_s,
        request_timeout_s=suite.request_timeout_s,
        deadlines=suite.deadlines,
        port=options.port,
        together=options.together,
        strict=suite.strict if options.strict is None else options.strict,
        policy=policy.content() if policy else None,
        sites=list(suite.compression.sites),
        reuse_baseline=str(options.reuse_baseline.resolve()) if options.reuse_baseline else None,
        allow_wider=options.allow_wider,
        repeat=repeat,
        thresholds=str((options.thresholds or default_thresholds(options.suite)).absolute()),
        refused=refused,
    )


def with_codec(suite: Suite, options: Options) -> Suite:
    """Return the suite with the codec of the command line in place of its own.

    Raises:
        HarnessError: Codec, claim and policy do not fit together.
    """
    if options.codec is None and options.claims is None:
        return suite
    if options.policy is not None:
        raise HarnessError("--policy says how every sum is made: leave --codec and --claims out, or it")
    file, colon, function = (options.codec or suite.compression.codec).rpartition(":")
    # An implementation's file is imported by SGLang's processes, whose working directory is another.
    codec = f"{Path(file).absolute()}{colon}{function}" if file.endswith(".py") else file + colon + function
    own = suite.compression
    try:
        compression = Compression(
            codec=codec,
            claims=options.claims,
            algorithm=own.algorithm,
            sites=own.sites,
            live_check=own.live_check,
        )
    except ValidationError as error:
        told = "; ".join(str(found["msg"]).removeprefix("Value error, ") for found in error.errors())
        raise HarnessError(f"--codec {options.codec}: {told} (--claims)") from error
    return suite.model_copy(update={"compression": compression})


def _chat(task: TaskRun) -> Chat | None:
    return Chat(system=task.system, thinking=task.thinking) if task.apply_chat_template else None


def default_reports(suite: str) -> Path:
    """Return where a suite's reports go: for a file outside the repository, beside it."""
    path = Path(suite).absolute()
    return path.parent / "reports" if is_path(suite) and ROOT not in path.parents else ROOT / "reports"


def plan_on_paper(suite: str, *, limit: int | None = None) -> Plan:
    """Plan a suite that is not to run: tasks and thresholds as they would be, whatever this machine has.

    Args:
        suite: The suite's name.
        limit: At most so many questions a task.

    Raises:
        HarnessError: There is no such suite, or it or the thresholds are wrong.
    """
    content, thresholds = load(suite)
    # No server is started: what it would be started with does not matter.
    nowhere = Path(sys.executable)
    options = Options(suite=suite, server_python=nowhere, plugin_path=nowhere.parent, limit=limit, dry_run=True)
    return make_plan(content, thresholds, options, data=Path(), data_manifest={}, repeat="")


def moment(now: datetime | None) -> str:
    """Return the name of a moment, of the present one if None.

    To the microsecond, since several runs may start at once; a whole second has none in its name.
    """
    when = now or datetime.now(UTC)
    return f"{when:%Y%m%d-%H%M%S}" + (f"-{when.microsecond:06d}" if when.microsecond else "")


def _fidelity(run: FidelityRun, threshold: FidelityThreshold | None, limit: int | None) -> FidelityPlan:
    return FidelityPlan(
        texts={source: min(count, limit or count) for source, count in run.texts.items()},
        of_tasks=list(run.tasks),
        max_tokens=run.max_tokens,
        concurrency=run.concurrency,
        threshold=threshold,
    )


def check_places(model_path: str, server_python: Path) -> tuple[str, Path, list[str]]:
    """Return where the model and the interpreter are, and what is wrong with either.

    Args:
        model_path: The model's path, with a suite's `.cache/` led to where the cache is.
        server_python: The interpreter that has SGLang.
    """
    problems: list[str] = []
    model, python = model_path, server_python.absolute()
    try:
        model = check_model(model, ROOT)
    except HarnessError as error:
        problems.append(str(error))
    try:
        python = check_interpreter(server_python)
    except HarnessError as error:
        problems.append(str(error))
    return model, python, problems


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
    variables = [f"{name}={shlex.quote(os.environ[name])}" for name in REPEATED if os.environ.get(name)]
    interpreter = os.environ.get(INTERPRETER, "")
    # That of the newest release is what nox takes without a word; --sglang is a word to nox alone.
    # Checkouts may share it: then it is a link.
    ours = (ROOT / ".nox" / "server-cpu").resolve()
    if interpreter and not Path(interpreter).parent.resolve().is_relative_to(ours) and "--server-python" not in given:
        variables.append(f"{INTERPRETER}={shlex.quote(interpreter)}")
    options = ("--", *given[1:]) if given[1:] else ()
    return " ".join((*variables, shlex.join(("nox", "-s", *given[:1], *options))))
