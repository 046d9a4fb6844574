"""A study's plan without a model."""

from harness.config.suite import KnownAnswer
from harness.plan.plan import FidelityPlan
from harness.study.plan import StudyPlan


def study_plan(*, ranks: list[int] | None = None, budget_kl: float = 0.002) -> StudyPlan:
    """Return a plan whose servers nobody starts."""
    return StudyPlan(
        run_id="20261126-000000-study-one",
        suite="one",
        device="cpu",
        model="One",
        model_path="/nowhere",
        server_python="/nowhere/python",
        folder="/nowhere/study",
        data="/nowhere/data",
        data_manifest={},
        ranks=ranks or [2],
        candidates=[],
        texts=FidelityPlan(texts={"boolq": 4}, max_tokens=16, concurrency=1, threshold=None),
        site_texts=4,
        sites=True,
        budget_kl=budget_kl,
        tasks={},
        scored_task="boolq",
        questions=0,
        link="pcie5",
        prefill=8192,
        arms=[],
        known_answer=KnownAnswer(prompt="a", right="b", wrong="c"),
        start_timeout_s=1,
        request_timeout_s=1,
        repeat="nox -s study",
    )
