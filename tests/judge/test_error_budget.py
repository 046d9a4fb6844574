"""The budget that all gates of a run share."""

from pathlib import Path

import pytest

from harness.config.thresholds import FidelityThreshold, Threshold
from harness.judge.error_budget import POOLED_GATE, fail_levels, share_out
from harness.plan.plan import FidelityPlan, Plan
from harness.stats import ALPHA
from tests.support import make


def plan_with(
    tmp_path: Path, *, fidelity: FidelityThreshold | None = None, **rows: dict[str, float | str | bool]
) -> Plan:
    """Return the default suite's plan with other rows."""
    plan = make(tmp_path)
    tasks = {
        name: plan.tasks[name].model_copy(
            update={"threshold": Threshold.model_validate({"metric": "acc,none", "source": "a test", **row})}
        )
        for name, row in rows.items()
    }
    texts = FidelityPlan(texts={"boolq": 64}, max_tokens=8, concurrency=1, threshold=fidelity)
    return plan.model_copy(update={"tasks": tasks, "fidelity": texts})


def test_all_gates_of_tasks_and_texts_share_one_budget(tmp_path: Path) -> None:
    plan = plan_with(
        tmp_path,
        boolq={"max_drop": 0.1, "max_flips": 0.2, "floor": 0.5, "floor_rule": "confident"},
        gsm8k={"max_drop": 0.1, "max_truncated": 0.2},
        fidelity=FidelityThreshold(max_mean_kl=0.1, min_same_top=0.5, source="a test"),
    )
    levels = fail_levels(plan)
    assert set(levels) == {
        "boolq.max_drop",
        "boolq.max_flips",
        "boolq.floor",
        "gsm8k.max_drop",
        "gsm8k.max_truncated",
        "fidelity.max_mean_kl",
        "fidelity.min_same_top",
    }
    assert sum(levels.values()) == pytest.approx(ALPHA)
    assert len(set(levels.values())) == 1


def test_what_tests_nothing_takes_nothing(tmp_path: Path) -> None:
    plan = plan_with(tmp_path, boolq={"max_drop": 0.1, "floor": 0.5}, gsm8k={"report_only": True})
    assert fail_levels(plan) == {"boolq.max_drop": ALPHA}
    assert fail_levels(plan_with(tmp_path, gsm8k={"report_only": True})) == {}


def test_the_pooled_test_has_half_and_the_others_share_the_rest() -> None:
    levels = share_out(["a.max_drop", "b.max_drop", POOLED_GATE])
    assert levels == {POOLED_GATE: ALPHA / 2, "a.max_drop": ALPHA / 4, "b.max_drop": ALPHA / 4}
    assert share_out([POOLED_GATE]) == {POOLED_GATE: ALPHA}
