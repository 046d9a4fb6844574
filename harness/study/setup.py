"""Everything that is found out before a study's first server starts."""

from dataclasses import dataclass
from pathlib import Path

from harness.ask.lm_eval_task import LmEvalTask
from harness.ask.predictions import FixedTexts
from harness.ask.questionnaire import Questionnaire, hash_contents
from harness.errors import HarnessError
from harness.places import ROOT
from harness.plan.preflight import Sglang, check_sglang
from harness.records.run import Fingerprint
from harness.run.deadlines import Watch
from harness.run.display import Display
from harness.run.reuse_baseline import hashes_of_folder, server_facts
from harness.study.folder import StudyFolder
from harness.study.measure import Measurer
from harness.study.plan import StudyPlan, arm_name
from harness.study.store import Store


@dataclass(frozen=True, kw_only=True)
class ReadyStudy:
    """A study, or a part of one, that can start.

    Attributes:
        plan: What it does, its arguments as this SGLang spells them.
        sglang: The SGLang that will run.
        texts: The fixed texts.
        task: The task that candidates are scored on; None where nothing is scored.
        facts: Everything that a policy's figures depend on, but for the number of ranks.
    """

    plan: StudyPlan
    sglang: Sglang
    texts: FixedTexts
    task: LmEvalTask | None
    facts: dict[str, str]

    @property
    def folder(self) -> StudyFolder:
        """Where it writes."""
        return StudyFolder(Path(self.plan.folder))

    @property
    def fingerprint(self) -> Fingerprint:
        """What hosts that share a study must have alike: the facts, and the code that measures."""
        return Fingerprint(facts=self.facts | hashes_of_folder("harness", ROOT / "harness", "*.py"))

    def store(self, ranks: int) -> Store:
        """Return what was measured before at a number of ranks."""
        return Store(self.facts | {"ranks": str(ranks)})

    def measurer(self, ranks: int, display: Display, watch: Watch) -> Measurer:
        """Return what measures at a number of ranks."""
        return Measurer(
            self.plan,
            ranks,
            folder=self.folder.arm(arm_name(ranks)),
            store=self.store(ranks),
            texts=self.texts,
            task=self.task,
            display=display,
            watch=watch,
        )


def set_up_study(plan: StudyPlan, display: Display) -> ReadyStudy:
    """Ask SGLang, and load texts and tasks. Nothing is written: what is refused here leaves no folder behind.

    Raises:
        HarnessError: The plan cannot be carried out, or the model's files cannot be read.
    """
    display.say(f"asking {plan.server_python} whether its SGLang takes the plan")
    candidates = [(one.codec, one.algorithm, one.ranks) for one in plan.candidates]
    sglang = check_sglang(plan.server_python, plan.arms, candidates=candidates, gpus=plan.gpus)
    plan = plan.model_copy(update={"arms": sglang.arms(plan.arms)})
    data = Path(plan.data)
    tasks = {name: LmEvalTask(name, task, data) for name, task in plan.tasks.items()}
    texts = FixedTexts(plan.texts, data, list(tasks.values()))
    task = tasks[plan.scored_task] if plan.questions else None
    asked: list[Questionnaire] = [texts, *([task] if task else [])]
    try:
        # Servers of other numbers of ranks differ in what their plugin is told, which is no fact.
        facts = server_facts(plan.arms[0], plan.model_path, sglang)
    except OSError as error:
        raise HarnessError(f"the model's files cannot be read: {error}") from error
    facts |= {one.name: f"{one.protocol_text()}; {hash_contents(one.contents())}" for one in asked}
    return ReadyStudy(plan=plan, sglang=sglang, texts=texts, task=task, facts=facts)
