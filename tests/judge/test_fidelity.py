from typing import Any

import pytest

from harness.config.thresholds import FidelityThreshold
from harness.judge.fidelity import fidelity_warnings, judge_fidelity
from harness.judge.predictions import Estimate, Fidelity, PredictionShift


def fidelity(kl: float, spread: float = 0.001, *, same: float = 0.95, **changed: Any) -> Fidelity:
    shift = PredictionShift(
        predictions=1000,
        kl=Estimate(mean=kl, low=kl - spread, high=kl + spread),
        kl_percentiles={"50": kl, "90": kl, "99": kl, "max": kl},
        same_top=Estimate(mean=same, low=same - 0.01, high=same + 0.01),
        loglikelihood=Estimate(mean=-0.02, low=-0.03, high=-0.01),
        lumped=0.1,
    )
    usual: dict[str, Any] = {"texts": 32, "failed": 0, "faults": [], "overall": shift}
    return Fidelity(**{**usual, "positions": {"token 0": shift}, "worst": [], **changed})


def row(max_mean_kl: float | None = 0.03, min_same_top: float | None = None) -> FidelityThreshold:
    return FidelityThreshold(max_mean_kl=max_mean_kl, min_same_top=min_same_top, source="a test")


@pytest.mark.parametrize(
    ("kl", "verdict", "why"),
    [
        (0.02, "PASS", "mean KL divergence 0.02 nats, allowed 0.03: the true value is below 0.021 (95% sure)"),
        (0.0295, "INCONCLUSIVE", "the true value lies between 0.0285 and 0.0305, which decides nothing"),
        (0.04, "FAIL", "the true value is above 0.039 (95% sure)"),
    ],
)
def test_the_mean_divergence_is_judged_by_its_bounds(kl: float, verdict: str, why: str) -> None:
    judged = judge_fidelity(fidelity(kl), fidelity(0.0), row())
    assert judged.verdict == verdict
    assert judged.reasons[0].endswith(why)


@pytest.mark.parametrize(("same", "verdict"), [(0.95, "PASS"), (0.895, "INCONCLUSIVE"), (0.85, "FAIL")])
def test_the_share_of_same_top_tokens_is_judged_by_its_bounds(same: float, verdict: str) -> None:
    judged = judge_fidelity(fidelity(0.5, same=same), None, row(None, 0.9))
    assert judged.verdict == verdict
    assert "the most likely token changed in a share of" in judged.reasons[0]
    assert "allowed 0.1: " in judged.reasons[0]


def test_the_worst_of_two_thresholds_decides() -> None:
    judged = judge_fidelity(fidelity(0.02, same=0.8), None, row(0.03, 0.9))
    assert (judged.verdict, len(judged.reasons)) == ("FAIL", 1)


def test_what_the_baseline_does_by_itself_is_no_failure_of_compression() -> None:
    judged = judge_fidelity(fidelity(0.04), fidelity(0.0295), row())
    assert judged.verdict == "INCONCLUSIVE"
    assert judged.reasons[0].endswith("the baseline against itself may reach 0.0305")
    assert judge_fidelity(fidelity(0.5, same=0.8), fidelity(0.0, same=0.85), row(None, 0.9)).verdict == "INCONCLUSIVE"
    assert judge_fidelity(fidelity(0.5, same=0.8), fidelity(0.0, same=0.99), row(None, 0.9)).verdict == "FAIL"


def test_few_texts_decide_nothing() -> None:
    judged = judge_fidelity(fidelity(0.0, texts=7), None, row())
    assert judged.verdict == "INCONCLUSIVE"
    assert judged.reasons[0].endswith("decided from 8 texts on, here 7: too little data")


def test_without_a_threshold_it_is_reported() -> None:
    judged = judge_fidelity(fidelity(0.5), None, None)
    assert (judged.verdict, judged.reasons) == ("REPORTED", ("fidelity: reported only",))


@pytest.mark.parametrize("threshold", [None, row()])
def test_what_was_not_measured_is_an_error(threshold: FidelityThreshold | None) -> None:
    judged = judge_fidelity(fidelity(0.0, failed=1), None, threshold)
    assert judged.verdict == "ERROR"
    assert judged.reasons == ("fidelity: 1 request failed; a failed request is not a prediction",)
    faulty = judge_fidelity(fidelity(0.0), fidelity(0.0, faults=["boolq/1 is another text"]), threshold)
    assert (faulty.verdict, faulty.reasons) == ("ERROR", ("fidelity's noise floor: boolq/1 is another text",))
    nothing = judge_fidelity(fidelity(0.0, overall=None, texts=0), None, threshold)
    assert (nothing.verdict, nothing.reasons) == ("ERROR", ("fidelity: nothing was predicted in both arms",))


def test_a_large_shift_is_a_warning_in_words() -> None:
    (said,) = fidelity_warnings(fidelity(0.042, same=0.87), fidelity(0.0), None)
    assert said == (
        "predictions of fixed text moved far: mean KL divergence 0.042 nats, large from 0.01 on (token 0 0.042; "
        "baseline against itself: 0); 13.0% of the most likely tokens changed, the text's log-likelihood by -0.020 "
        "nats a token"
    )
    assert "what changes by itself was not measured" in fidelity_warnings(fidelity(0.042), None, None)[0]
    assert fidelity_warnings(fidelity(0.042), None, row(None, 0.9))


@pytest.mark.parametrize(
    ("kl", "noise", "threshold"),
    [
        (0.005, None, None),
        # The bounds reach below.
        (0.0105, None, None),
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
