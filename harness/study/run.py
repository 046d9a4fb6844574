"""A whole study, as one sentence: plan, setup, measurements at each number of ranks, report, confirmation."""

from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path

from harness.ask.lm_eval_task import LmEvalTask
from harness.ask.predictions import FixedTexts
from harness.ask.questionnaire import Questionnaire, hash_contents
from harness.errors import HarnessError
from harness.plan.preflight import Sglang, check_sglang
from harness.records.run import RunRecord, write_record
from harness.records.run_folder import PRIVATE, ArmFolder
from harness.run.deadlines import Watch
from harness.run.display import Display
from harness.run.journal import Journal
from harness.run.reuse_baseline import server_facts
from harness.run.versions import harness_versions
from harness.sglang_plugin.policy import parse
from harness.study.build import build_study, policies, recommend
from harness.study.flow import study_ranks
from harness.study.folder import RECOMMENDED, UNCOMPRESSED, StudyFolder
from harness.study.measure import UNCOMPRESSED_RULES, Measurer
from harness.study.model import StudyReport
from harness.study.plan import StudyPlan, arm_name
from harness.study.records import read_measured
from harness.study.store import Store
from harness.study.write import write_study


def run_study(plan: StudyPlan, display: Display) -> tuple[StudyReport, StudyFolder]:
    """Do what the plan says and report on it.

    What was measured stays: a study that was interrupted goes on where it was when it is started again.

    Raises:
        HarnessError: The plan cannot be carried out, a server failed, or a measurement cannot be proven.
    """
    display.say(f"asking {plan.server_python} whether its SGLang takes the plan")
    candidates = [(one.codec, one.algorithm, one.ranks) for one in plan.candidates]
    sglang = check_sglang(plan.server_python, plan.arms, candidates=candidates, gpus=plan.gpus)
    plan = plan.model_copy(update={"arms": sglang.arms(plan.arms)})
    # Before the folder: what is refused leaves none behind.
    texts, task = _questionnaires(plan)
    folder, watch = StudyFolder(Path(plan.folder)), Watch(plan.deadlines)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        folder.path.mkdir(mode=PRIVATE, parents=True)
        write_record(folder.plan, plan)
        versions = harness_versions(sglang.version)
        journal = Journal(folder, RunRecord(started=started, seconds=0.0, errors=[], versions=versions))
    except OSError as error:
        raise HarnessError(f"{folder.path} cannot be written: {error}") from error
    try:
        for ranks in plan.ranks:
            with ExitStack() as stack:
                store = Store(_facts(plan, ranks, texts, task, sglang))
                files = folder.arm(arm_name(ranks))
                measurer = stack.enter_context(
                    Measurer(
                        plan, ranks, folder=files, store=store, texts=texts, task=task, display=display, watch=watch
                    )
                )
                study_ranks(plan, measurer, ranks, display)
                if plan.confirm and ranks == plan.ranks[0]:
                    _predict_for_confirmation(plan, measurer, files, texts, display)
        journal.finished()
        report = build_study(folder)
        write_study(report, folder)
    except BaseException as error:
        # Where the disk is full, the folder says that it was cut off.
        with suppress(OSError):
            journal.broken(error)
        if isinstance(error, OSError):
            raise HarnessError(f"{folder.path} cannot be written: {error}") from error
        raise
    return report, folder


def _predict_for_confirmation(
    plan: StudyPlan, measurer: Measurer, files: ArmFolder, texts: FixedTexts, display: Display
) -> None:
    """Have the recommended policy's predictions and the uncompressed ones read as a real run reads them."""
    best = recommend(plan, policies(plan, read_measured(files.path), ("candidate", "mix")))
    if best is None:
        return
    display.say(f"{best.name}: predictions to compare a real run with")
    for name, rules in ((UNCOMPRESSED, UNCOMPRESSED_RULES), (RECOMMENDED, parse({"rules": best.policy}).rules)):
        measurer.predictions(name, rules, texts)


def _questionnaires(plan: StudyPlan) -> tuple[FixedTexts, LmEvalTask | None]:
    """Load the fixed texts, and the task that candidates are scored on."""
    data = Path(plan.data)
    tasks = {name: LmEvalTask(name, task, data) for name, task in plan.tasks.items()}
    texts = FixedTexts(plan.texts, data, list(tasks.values()))
    return texts, tasks[plan.scored_task] if plan.questions else None


def _facts(plan: StudyPlan, ranks: int, texts: FixedTexts, task: LmEvalTask | None, sglang: Sglang) -> dict[str, str]:
    """Return everything that a policy's figures depend on."""
    facts = server_facts(plan.arm(ranks), plan.model_path, sglang)
    asked: list[Questionnaire] = [texts, *([task] if task else [])]
    return facts | {
        "ranks": str(ranks),
        **{one.name: f"{one.protocol_text()}; {hash_contents(one.contents())}" for one in asked},
    }
