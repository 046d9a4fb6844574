from typing import Any

import pytest

from harness.judge.engagement import Engagement, RankCounts
from harness.judge.results import ArmReport
from harness.judge.traffic import alone_concern, differing_traffic, traffic_faults, traffic_line
from harness.records.run import Traffic

ANSWERED = Traffic(answers=10, prompt=1000, cached=300)
OWN = 7
PREFILLED = OWN + 700


def arm(*ranks: int, own: int | None = OWN, traffic: Traffic | None = ANSWERED) -> ArmReport:
    """Return an arm whose ranks logged so many tokens of prefills."""
    counts: dict[str, Any] = {"calls": 0, "elements": 0, "wire_bytes": 0, "sites": {}, "prefills": 1, "decodes": 0}
    logged = [RankCounts(rank=rank, prefill_tokens=tokens, **counts) for rank, tokens in enumerate(ranks)]
    return ArmReport(
        server_args={},
        command="",
        known_answer=True,
        seconds_to_ready=1.0,
        engagement=Engagement(ranks=logged, facts={}, faults=[]),
        own_prefill=own,
        traffic=traffic,
        live_check=None,
    )


def test_logs_that_hold_the_answers_prefills_prove_them() -> None:
    assert traffic_faults(arm(PREFILLED, PREFILLED)) == []
    assert traffic_line(arm(PREFILLED)) == (
        "prefills: 707 tokens in the ranks' logs; 10 prompts of 1000 tokens, 300 of them cached, and 7 of the "
        "server's own start"
    )


def test_a_log_that_was_cut_and_a_strangers_server_lack_prefills() -> None:
    (fault,) = traffic_faults(arm(PREFILLED, PREFILLED - 1))
    assert fault == (
        "rank 1 logged prefills of 706 tokens; the 10 answers and the server's own start took 707: its log was "
        "cut, or another server answered"
    )


@pytest.mark.parametrize("tokens", [PREFILLED + 1, 50 * PREFILLED])
def test_prefills_that_nobody_here_asked_for(tokens: int) -> None:
    (fault,) = traffic_faults(arm(tokens))
    assert "took 707: somebody else asked that server too" in fault


def test_prompts_without_an_answer_may_have_been_prefilled_or_not() -> None:
    unsure = ANSWERED.model_copy(update={"uncertain": 40})
    for tokens in (PREFILLED, PREFILLED + 40):
        assert traffic_faults(arm(tokens, traffic=unsure)) == []
    for tokens in (PREFILLED - 1, PREFILLED + 41):
        (fault,) = traffic_faults(arm(tokens, traffic=unsure))
        assert "took 707 to 747: " in fault


def test_traffic_that_was_not_recorded_proves_nothing() -> None:
    assert "was not recorded" in traffic_faults(arm(PREFILLED, own=None))[0]
    assert "was not recorded" in traffic_faults(arm(PREFILLED, traffic=None))[0]
    assert "less than the known answer took" in traffic_faults(arm(-OWN + 700, own=-OWN))[0]
    assert traffic_line(arm(own=None)) == "prefills: not known"


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (ANSWERED, ""),
        (ANSWERED.model_copy(update={"cached": 340}), ""),
        (ANSWERED.model_copy(update={"cached": 360}), "the baseline took 300 from its cache and compressed 360"),
        (ANSWERED.model_copy(update={"prompt": 1001}), "1000 tokens in the baseline and 1001 in compressed"),
        # Nothing is known for certain of an arm with a failed request.
        (ANSWERED.model_copy(update={"prompt": 900, "uncertain": 100}), ""),
    ],
)
def test_the_arms_answer_the_same_prompts_and_cache_as_much_of_them(other: Traffic, expected: str) -> None:
    arms = {"baseline": arm(PREFILLED), "compressed": arm(PREFILLED, traffic=other)}
    found = differing_traffic(arms, {"baseline": {"boolq": 8}, "compressed": {"boolq": 8}})
    assert bool(found) is bool(expected)
    assert expected in "".join(found)
    # The baseline is asked to its end, also where the other arm ended early.
    assert differing_traffic(arms, {"baseline": {"boolq": 8}, "compressed": {"boolq": 4}}) == []


def test_prompts_asked_one_by_one_in_one_arm_alone_are_told() -> None:
    some, none = ANSWERED.model_copy(update={"alone": 4}), ANSWERED
    assert alone_concern({"baseline": arm(traffic=some), "compressed": arm(traffic=some)}) is None
    text = alone_concern({"baseline": arm(traffic=none), "compressed": arm(traffic=some)})
    assert text is not None
    assert "0 in baseline, 4 in compressed" in text
    assert traffic_line(arm(PREFILLED, traffic=some)).endswith("; 4 asked one by one after their request was refused")
