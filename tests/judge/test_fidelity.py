import re
from typing import Any

import pytest

from harness.config.thresholds import FidelityThreshold, KnownPredictions
from harness.judge.error_budget import FIDELITY_GATES
from harness.judge.fidelity import FEWEST_TEXTS, fidelity_warnings, judge_fidelity, judge_gates
from harness.judge.prediction_shift import PredictionShift, TextShift, mean_kl, mean_loglikelihood, mean_same_top
from harness.judge.predictions import Fidelity
from harness.judge.verdict import Judged
from harness.stats import ALPHA


def fidelity(kl: float, spread: float = 0.05, *, same: float = 0.95, drop: float = 0.02, **changed: Any) -> Fidelity:
    """Return what 64 texts of 50 predictions come to, each of whose means differs from the others' by its share."""
    texts = [
        TextShift(
            text=f"boolq/{number}",
            predictions=50,
            kl=kl * (1 + spread * step),
            same_top=1 - (1 - same) * (1 + spread * step),
            loglikelihood=-drop * (1 + spread * step),
        )
        for number, step in enumerate([-1, 1] * (changed.pop("count", 64) // 2))
    ]
    shift = PredictionShift(
        predictions=50 * len(texts),
        kl=mean_kl(texts, ALPHA),
        kl_percentiles={"50": kl, "90": kl, "99": kl, "max": kl},
        same_top=mean_same_top(texts, ALPHA),
        loglikelihood=mean_loglikelihood(texts, ALPHA),
    )
    usual: dict[str, Any] = {"texts": len(texts), "failed": 0, "faults": [], "overall": shift, "by_text": texts}
    return Fidelity(**{**usual, "positions": {"token 0": shift}, "worst": [], **changed})


def row(max_mean_kl: float | None = 0.03, **changed: Any) -> FidelityThreshold:
    return FidelityThreshold(max_mean_kl=max_mean_kl, source="a test", **changed)


def judge(found: Fidelity, noise: Fidelity | None, threshold: FidelityThreshold | None) -> Judged:
    """Judge with a budget of four gates."""
    return judge_fidelity(found, noise, threshold, {f"fidelity.{key}": ALPHA / 4 for key in FIDELITY_GATES})


@pytest.mark.parametrize(
    ("kl", "verdict", "why"),
    [
        (
            0.02,
            "PASS",
            r"mean KL divergence 0\.02 nats a token, allowed 0\.03: the true value is below 0\.020\d+ \(95% sure\)",
        ),
        (
            0.0299,
            "INCONCLUSIVE",
            r"lies between 0\.029\d+ and 0\.030\d+, which decides nothing; it leans to within the limit",
        ),
        (0.0301, "INCONCLUSIVE", r"decides nothing; it leans to beyond the limit"),
        (0.04, "FAIL", r"the true value is above 0\.039\d+ \(98\.75% sure\)"),
    ],
)
def test_the_mean_divergence_is_judged_by_its_bounds(kl: float, verdict: str, why: str) -> None:
    judged = judge(fidelity(kl), fidelity(0.0), row())
    assert judged.verdict == verdict
    assert re.search(why, judged.reasons[0])


@pytest.mark.parametrize(("same", "verdict"), [(0.95, "PASS"), (0.9, "INCONCLUSIVE"), (0.85, "FAIL")])
def test_the_share_of_same_top_tokens_is_judged_by_its_bounds(same: float, verdict: str) -> None:
    judged = judge(fidelity(0.5, same=same), None, row(None, min_same_top=0.9))
    assert judged.verdict == verdict
    assert "the most likely token changed in a share of" in judged.reasons[0]
    assert "allowed 0.1: " in judged.reasons[0]


@pytest.mark.parametrize(
    ("drop", "verdict"), [(-0.05, "PASS"), (0.0, "PASS"), (0.009, "PASS"), (0.01, "INCONCLUSIVE"), (0.02, "FAIL")]
)
def test_less_likely_text_is_judged_in_one_direction(drop: float, verdict: str) -> None:
    judged = judge(fidelity(0.5, drop=drop), None, row(None, max_loglikelihood_drop=0.01))
    assert judged.verdict == verdict
    assert f"the texts' own tokens are less likely by {drop:.4g} nats each, allowed 0.01: " in judged.reasons[0]


def with_one_text_of(kl: float) -> Fidelity:
    usual = fidelity(0.02)
    return usual.model_copy(update={"by_text": [usual.by_text[0].model_copy(update={"kl": kl}), *usual.by_text[1:]]})


def test_one_text_that_moved_far_fails_though_the_mean_passes() -> None:
    limits = row(0.1, max_text_kl=0.2)
    assert judge(fidelity(0.02), None, limits).verdict == "PASS"
    judged = judge(with_one_text_of(0.5), None, limits)
    assert judged.verdict == "FAIL"
    assert judged.reasons[0] == (
        "fidelity: the worst of 64 texts, boolq/0, moved by 0.5 nats a token, allowed 0.2: 1 of 64 moved farther "
        "than that"
    )
    assert judge(with_one_text_of(0.5), with_one_text_of(0.5), limits).verdict == "INCONCLUSIVE"


def test_no_text_beyond_says_how_few_there_can_be() -> None:
    judged = judge(fidelity(0.02), None, row(None, max_text_kl=0.2))
    # With 4.6 % of texts beyond, none of 64 is in 5 % of samples.
    assert judged.reasons[0].endswith("fewer than 4.6% of such texts move farther than that (95% sure)")


def test_the_worst_of_two_thresholds_decides() -> None:
    judged = judge(fidelity(0.02, same=0.8), None, row(0.03, min_same_top=0.9))
    assert (judged.verdict, len(judged.reasons)) == ("FAIL", 1)


def test_a_pass_names_what_is_known() -> None:
    known = KnownPredictions(
        what="int8_token on a CPU", mean_kl=0.02, text_kl=0.03, loglikelihood_drop=0.02, same_top=0.9
    )
    judged = judge(fidelity(0.02), None, row(0.03, known=known))
    assert judged.reasons[0].endswith("(95% sure); known: 0.02")
    assert judged.reasons[1] == "fidelity: no worse than known: int8_token on a CPU"
    assert judge(fidelity(0.05), None, row(0.03, known=known)).reasons[0].endswith("; known: 0.02")


def test_what_the_baseline_does_by_itself_is_no_failure_of_compression() -> None:
    judged = judge(fidelity(0.04), fidelity(0.03), row())
    assert judged.verdict == "INCONCLUSIVE"
    assert re.search(r"the baseline against itself may reach 0\.030\d+$", judged.reasons[0])
    same = row(None, min_same_top=0.9)
    assert judge(fidelity(0.5, same=0.8), fidelity(0.0, same=0.85), same).verdict == "INCONCLUSIVE"
    assert judge(fidelity(0.5, same=0.8), fidelity(0.0, same=0.99), same).verdict == "FAIL"


def test_each_gate_is_told_by_itself() -> None:
    limits = row(0.03, min_same_top=0.9, max_text_kl=9.0)
    levels = {f"fidelity.{key}": ALPHA / 4 for key in FIDELITY_GATES}
    found = judge_gates(fidelity(0.02, same=0.5), None, limits, levels)
    assert {key: gate.verdict for key, gate in found.items()} == {
        "max_mean_kl": "PASS",
        "min_same_top": "FAIL",
        "max_text_kl": "PASS",
    }
    assert judge_gates(fidelity(0.02, faults=["differs"]), None, limits, levels) == {}


def test_few_texts_decide_nothing() -> None:
    judged = judge(fidelity(0.0, count=FEWEST_TEXTS - 2), None, row(min_same_top=0.9))
    assert judged.verdict == "INCONCLUSIVE"
    assert judged.reasons == ("fidelity: decided from 64 texts on, here 62: too little data",)


@pytest.mark.parametrize("threshold", [None, row(None, report_only=True)])
def test_without_a_limit_it_is_reported(threshold: FidelityThreshold | None) -> None:
    judged = judge(fidelity(0.5), None, threshold)
    assert (judged.verdict, judged.reasons) == ("REPORTED", ("fidelity: reported only",))


@pytest.mark.parametrize("threshold", [None, row()])
def test_what_was_not_measured_is_an_error(threshold: FidelityThreshold | None) -> None:
    judged = judge(fidelity(0.0, failed=1), None, threshold)
    assert judged.verdict == "ERROR"
    assert judged.reasons == ("fidelity: 1 request failed; a failed request is not a prediction",)
    faulty = judge(fidelity(0.0), fidelity(0.0, faults=["boolq/1 is another text"]), threshold)
    assert (faulty.verdict, faulty.reasons) == ("ERROR", ("fidelity's noise floor: boolq/1 is another text",))
    nothing = judge(fidelity(0.0, overall=None, texts=0), None, threshold)
    assert (nothing.verdict, nothing.reasons) == ("ERROR", ("fidelity: nothing was predicted in both arms",))


def test_a_large_shift_is_a_warning_in_words() -> None:
    (said,) = fidelity_warnings(fidelity(0.042, same=0.87), fidelity(0.0), None)
    assert said == (
        "predictions of fixed text moved far: mean KL divergence 0.042 nats a token, large from 0.01 on (token 0 "
        "0.042; baseline against itself: 0); 13.0% of the most likely tokens changed, the text's log-likelihood by "
        "-0.020 nats a token"
    )
    assert "what changes by itself was not measured" in fidelity_warnings(fidelity(0.042), None, None)[0]
    assert fidelity_warnings(fidelity(0.042), None, row(None, min_same_top=0.9))


def test_what_is_known_is_no_warning_and_more_is() -> None:
    known = KnownPredictions(what="int8_token", mean_kl=0.042, text_kl=0.1, loglikelihood_drop=0.02, same_top=0.9)
    reported = row(None, report_only=True, known=known)
    assert fidelity_warnings(fidelity(0.042), None, reported) == []
    assert "large from 0.042 on" in fidelity_warnings(fidelity(0.05), None, reported)[0]


@pytest.mark.parametrize(
    ("kl", "noise", "threshold"),
    [
        (0.005, None, None),
        # The bounds reach below.
        (0.01, None, None),
        # The baseline does as much by itself.
        (0.042, 0.042, None),
        # The verdict speaks.
        (0.042, None, row()),
    ],
)
def test_no_warning(kl: float, noise: float | None, threshold: FidelityThreshold | None) -> None:
    assert fidelity_warnings(fidelity(kl), None if noise is None else fidelity(noise), threshold) == []


def test_no_warning_about_nothing() -> None:
    assert fidelity_warnings(fidelity(0.5, overall=None), None, None) == []
