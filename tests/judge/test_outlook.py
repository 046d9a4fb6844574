"""What a suite's questions can decide."""

import numpy as np
import pytest

from harness.config.load import suite_names
from harness.judge.outlook import WHOLE_RUN, missed_floors, outlooks, plan_designs, simulate_run
from harness.plan.make import plan_on_paper
from harness.stats.planning import drop_outcomes

NPU = [name for name in suite_names() if name.endswith("npu")]


@pytest.mark.parametrize("suite", NPU)
def test_the_suites_on_npus_decide(suite: str) -> None:
    plan = plan_on_paper(suite)
    assert {name: task.questions for name, task in plan.tasks.items()} == {"gsm8k": 1314, "boolq": 3270}
    found = {(outlook.drop, outlook.discordance): outlook.outcomes for outlook in outlooks(plan)}
    assert found[0.0, 0.04][WHOLE_RUN].passes >= 0.95
    assert found[0.02, 0.04][WHOLE_RUN].fails >= 0.90
    for outcomes in found.values():
        for chances in outcomes.values():
            assert chances.passes + chances.fails + chances.inconclusive == pytest.approx(1)


def test_the_simulated_chances_are_the_exact_ones() -> None:
    designs = plan_designs(plan_on_paper("qwen3-8b-npu"))
    found = simulate_run(designs, 0.04, 0.01, runs=20_000, rng=np.random.default_rng(0))
    for name, design in designs.items():
        exact = drop_outcomes(design.looks[-1], 0.04, 0.01, design.max_drop, fail_alpha=design.fail_alpha)
        # Four standard deviations of 20,000 runs.
        assert found[name].passes == pytest.approx(exact.passes, abs=0.014)
        assert found[name].fails == pytest.approx(exact.fails, abs=0.014)
    assert found[WHOLE_RUN].passes <= min(found[name].passes for name in designs)
    assert found[WHOLE_RUN].fails >= max(found[name].fails for name in designs)


def test_how_often_a_harmless_model_misses_upstreams_floor() -> None:
    misses = missed_floors(plan_on_paper("qwen3-8b-npu"))["gsm8k"]
    shown = {accuracy: round(miss, 2) for accuracy, miss in misses.items()}
    assert shown == {0.86: 0.3, 0.87: 0.17, 0.88: 0.08, 0.9: 0.01}


def test_a_suite_without_a_drop_to_judge_has_nothing_to_plan() -> None:
    plan = plan_on_paper("smollm2-cpu")
    assert outlooks(plan) == []
    assert missed_floors(plan) == {}
