"""Everything that is found out before the first server starts; it is made once, and goes only down from here."""

from dataclasses import dataclass
from pathlib import Path

from harness.ask.lm_eval_task import LmEvalTask, check_tasks
from harness.ask.predictions import FixedTexts
from harness.ask.prompts import check_lengths, word_chats
from harness.ask.questionnaire import Questionnaire
from harness.errors import HarnessError
from harness.plan.data_line import data_line
from harness.plan.plan import BASELINE, Plan
from harness.plan.preflight import Sglang, check_plan
from harness.records.questions import keep_prompts
from harness.records.run import Fingerprint, read_record, write_record
from harness.records.run_folder import RunFolder
from harness.run.display import Display
from harness.run.reuse_baseline import adopt_baseline, check_baseline, differences, make_fingerprint


class UnlikeError(HarnessError):
    """What a run's answers depend on is no longer what its fingerprint says."""


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A run that can start.

    Attributes:
        plan: What it does.
        folder: Where it writes.
        sglang: The SGLang that will run.
        questionnaires: What every server is asked, in order: the tasks, then the fixed texts.
        fingerprint: What the baseline's answers depend on.
    """

    plan: Plan
    folder: RunFolder
    sglang: Sglang
    questionnaires: list[Questionnaire]
    fingerprint: Fingerprint


def set_up(plan: Plan, display: Display) -> Ready:
    """Ask SGLang, load tasks and texts, and see to it that a baseline or a run of before can stand for this one.

    Nothing is written: what is refused here leaves no folder behind.

    Args:
        plan: The plan.
        display: Where progress is shown.

    Raises:
        HarnessError: The plan cannot be carried out, or something is no longer what it was when the run started.
        OSError: The model's files cannot be read.
    """
    display.say(data_line(plan.data_manifest))
    display.say(f"asking {plan.server_python} whether its SGLang takes the plan")
    sglang, folder = check_plan(plan), RunFolder(Path(plan.folder))
    plan = plan.model_copy(update={"arms": sglang.arms(plan.arms)})
    asked = load_questionnaires(plan)
    ready = Ready(
        plan=plan,
        folder=folder,
        sglang=sglang,
        questionnaires=asked,
        fingerprint=make_fingerprint(plan, asked, sglang),
    )
    if folder.fingerprint.exists():
        if differing := differences(read_record(folder.fingerprint, Fingerprint), ready.fingerprint):
            told = "\n  ".join(differing)
            raise UnlikeError(f"the run cannot go on: start it anew, or make this what it was then:\n  {told}")
    elif plan.reuse_baseline is not None:
        check_baseline(plan, RunFolder(Path(plan.reuse_baseline)), ready.fingerprint)
    return ready


def begin(ready: Ready, display: Display) -> None:
    """Write down what the run depends on and asks, and take the baseline of an earlier one, in the run's own folder.

    Raises:
        OSError: The folder cannot be written.
    """
    plan, folder = ready.plan, ready.folder
    if not folder.fingerprint.exists():
        write_record(folder.fingerprint, ready.fingerprint)
    for questionnaire in ready.questionnaires:
        if questionnaire.name in plan.tasks:
            keep_prompts(folder.questions(questionnaire.name), questionnaire.contents())
    if plan.reuse_baseline is not None and not folder.arm(BASELINE).path.exists():
        adopt_baseline(folder, RunFolder(Path(plan.reuse_baseline)))
        display.say(f"baseline: taken from {plan.reuse_baseline}")


def load_questionnaires(plan: Plan, *, tokenizer: bool = True) -> list[Questionnaire]:
    """Load the plan's tasks and texts.

    Args:
        plan: The plan.
        tokenizer: Whether the model is here, whose tokenizer words chats and counts tokens.

    Raises:
        HarnessError: A task or its data cannot be loaded, a threshold does not fit its task, or a question does
            not fit into the model's context.
    """
    data = Path(plan.data)
    tasks = [LmEvalTask(name, task, data) for name, task in plan.tasks.items()]
    check_tasks(tasks)
    if tokenizer:
        word_chats(plan, tasks)
        check_lengths(plan, tasks)
    return [*tasks, *([FixedTexts(plan.fidelity, data, tasks)] if plan.fidelity is not None else [])]
