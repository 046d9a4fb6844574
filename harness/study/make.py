"""Turns a suite and the user's options into a study's plan."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

from harness.config.load import suite_label, task_of
from harness.config.suite import ServerOptions, Suite, TaskRun
from harness.config.thresholds import Threshold
from harness.errors import HarnessError
from harness.performance.links import find_link
from harness.places import ROOT, model_place
from harness.plan.arms import BOUND_CORES, server_arm
from harness.plan.make import check_places, moment
from harness.plan.plan import FidelityPlan, TaskPlan
from harness.records.run_folder import RunFolder
from harness.sglang_plugin.policy import ALGORITHMS, OWN
from harness.sglang_plugin.settings import Settings
from harness.strict import Positive, Strict
from harness.study.plan import Candidate, StudyPlan, algorithm_for, arm_name, default_candidates

# Texts of each source where the suite has none.
TEXTS = 16
MAX_TOKENS = 128
# Where the suite has no texts of its own tasks.
SCORED_TASK = "boolq"
# None of the task's: nothing is judged, and answers are read by its own metric.
METRIC = "any,any"


class StudyOptions(Strict):
    """What the user may say of a study.

    Attributes:
        suite: The suite's name.
        server_python: The interpreter that has SGLang.
        plugin_path: The folder that carries the plugin's entry point.
        model_path: Another place of the same model.
        reports: Where the study's folder goes.
        ranks: Numbers of virtual ranks, the one of sites and recommendation first.
        codecs: `codec`, `codec:algorithm`, or `module:function`; None: the shipped ones.
        texts: Texts of each source.
        site_texts: How many of them the sites are measured on.
        sites: Whether sites are measured and mixes looked for.
        budget_kl: Nats a token.
        questions: Of the scored task.
        link: What joins the ranks.
        prefill: Tokens of the prefill whose time is predicted.
    """

    suite: str
    server_python: Annotated[Path, Field(strict=False)]
    plugin_path: Annotated[Path, Field(strict=False)]
    model_path: str | None = None
    reports: Annotated[Path, Field(strict=False)] = ROOT / "reports"
    ranks: list[Annotated[int, Field(ge=2, le=64)]] = Field(default_factory=lambda: [2], min_length=1)
    codecs: list[str] | None = None
    texts: Positive | None = None
    site_texts: Positive = 6
    sites: bool = True
    budget_kl: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.002
    questions: Annotated[int, Field(ge=0)] = 8
    link: str = "nvlink4"
    prefill: Positive = 8192

    @field_validator("link")
    @classmethod
    def _known(cls, link: str) -> str:
        find_link(link)
        return link


def make_study(
    suite: Suite,
    options: StudyOptions,
    *,
    data: Path,
    data_manifest: dict[str, Any],
    repeat: str,
    now: datetime | None = None,
) -> StudyPlan:
    """Plan a study.

    Args:
        suite: Whose model and server it takes.
        options: What the user said.
        data: The prepared data's folder.
        data_manifest: Its manifest.
        repeat: The command that repeats the study.
        now: When it is named after; the present moment if None.

    Raises:
        HarnessError: The model's folder or the interpreter is missing, or a candidate is named wrongly; all at once.
    """
    run_id = f"{moment(now)}-study-{suite_label(options.suite)}"
    folder = RunFolder(options.reports.resolve() / run_id)
    model_path, python, problems = check_places(
        options.model_path or model_place(suite.model.path), options.server_python
    )
    candidates: list[Candidate] = []
    for ranks in dict.fromkeys(options.ranks):
        for name in dict.fromkeys(options.codecs or default_candidates(ranks)):
            codec, algorithm = split_name(name, ranks)
            candidates.append(Candidate(codec=codec, algorithm=algorithm, ranks=ranks))
    if problems:
        raise HarnessError("\n".join(problems))
    fidelity = suite.fidelity
    # A study measures dozens of policies, a run one.
    given = fidelity.texts if fidelity else {"gsm8k": TEXTS, "boolq": TEXTS}
    tasks = {name: _task_plan(name, suite.tasks[name]) for name in (fidelity.tasks if fidelity else ())}
    if not tasks:
        tasks = {SCORED_TASK: _task_plan(SCORED_TASK, TaskRun(questions=max(1, options.questions)))}
    scored = next(iter(tasks))
    return StudyPlan(
        run_id=run_id,
        suite=suite_label(options.suite),
        device=suite.device,
        model=suite.model.name,
        model_path=model_path,
        server_python=str(python),
        folder=str(folder.path),
        data=str(data),
        data_manifest=data_manifest,
        ranks=list(dict.fromkeys(options.ranks)),
        candidates=candidates,
        texts=FidelityPlan(
            texts={source: options.texts or min(count, TEXTS) for source, count in given.items()},
            of_tasks=list(fidelity.tasks) if fidelity else [],
            max_tokens=fidelity.max_tokens if fidelity else MAX_TOKENS,
            concurrency=fidelity.concurrency if fidelity else 1,
            threshold=None,
        ),
        site_texts=options.site_texts,
        sites=options.sites,
        budget_kl=options.budget_kl,
        tasks=tasks if options.questions or (fidelity and fidelity.tasks) else {},
        scored_task=scored,
        questions=min(options.questions, tasks[scored].questions),
        link=options.link,
        prefill=options.prefill,
        arms=[
            server_arm(
                arm_name(ranks),
                suite.model_copy(update={"server": one_rank(suite)}),
                plugin=Settings(dir=folder.arm(arm_name(ranks)).engagement, codec="plain", virtual_ranks=ranks),
                plugin_path=options.plugin_path,
                model_path=model_path,
                python=python,
                tp=1,
                # Predictions are taken of whole texts: what one shares with another is prefilled again.
                more=("--disable-radix-cache",),
            )
            for ranks in dict.fromkeys(options.ranks)
        ],
        known_answer=suite.known_answer,
        start_timeout_s=suite.server.start_timeout_s,
        request_timeout_s=suite.request_timeout_s,
        deadlines=suite.deadlines,
        repeat=repeat,
    )


def split_name(name: str, ranks: int) -> tuple[str, str]:
    """Return the codec and the algorithm of a candidate's name: `codec`, `codec:algorithm`, or `module:function`.

    A codec without an algorithm has the one that sends less at that number of ranks.
    """
    codec, _, algorithm = name.rpartition(":")
    if codec and algorithm in ALGORITHMS:
        return codec, algorithm
    return name, OWN if ":" in name else algorithm_for(ranks)


def _task_plan(name: str, run: TaskRun) -> TaskPlan:
    """Return a task as a study asks it: its prompts as they are, one at a time."""
    return TaskPlan(
        file=str(task_of(name, run).path),
        questions=run.questions,
        concurrency=1,
        max_new_tokens=run.max_new_tokens,
        data_files=run.data_files,
        threshold=Threshold(metric=METRIC, report_only=True, source="a study judges nothing"),
    )


def one_rank(suite: Suite) -> ServerOptions:
    """Return the suite's server options for a server of one rank, which has the cores of all of them."""
    env = dict(suite.server.env)
    if bound := env.get(BOUND_CORES):
        env[BOUND_CORES] = ",".join(bound.split("|"))
    return suite.server.model_copy(update={"env": env})


def split_list(text: str) -> list[str]:
    """Return what stands between commas.

    Raises:
        HarnessError: Nothing does.
    """
    found = [part.strip() for part in text.split(",") if part.strip()]
    if not found:
        raise HarnessError("--codecs names none: leave it out for the shipped ones")
    return found


def split_ranks(text: str) -> list[int]:
    """Return the numbers of virtual ranks between commas.

    Raises:
        HarnessError: One is no number.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise HarnessError(f"--ranks takes numbers with commas, such as 2,4,8, not {text!r}") from error
