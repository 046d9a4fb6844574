"""What errors look like in bulk: their power, their mean, and that there are any."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from harness.collective.bounds import noise, sqnr_db
from harness.collective.codecs.int8 import Int8
from suites.numerics.case import Case
from suites.numerics.checks.check import check
from suites.numerics.data import SPIKE_CHANNELS
from suites.numerics.subject import Subject
from suites.numerics.trial import Trial

TOLERANCE_DB = 0.3

FLOAT_TOLERANCE_DB = 0.5
"""An FP8 step is as wide as its binade asks, in which the data's density is not flat, as step^2 / 12 has it."""

PLAIN_TOLERANCE_DB = 6.0
"""Without compression, in what order fp32 sums are formed is not told, so that their roundings are only guessed."""

COARSE_TOLERANCE_DB = 1.0
"""Beside spikes a step is as wide as the data's own spread, where step^2 / 12 is only roughly right."""

_NOT_NOISE = ("int8_hadamard", "spikes:10000")
"""Rotated values there are the spike plus far less than a step, and their errors anything but uniform."""


def _bulk(_subject: Subject, ranks: int) -> Iterator[Case]:
    for dtype in ("bf16", "fp32"):
        yield Case(ranks=ranks, shape=(32, 512), dtype=dtype, seed=1)


def _error(case: Case, out: Tensor) -> tuple[Tensor, Tensor]:
    exact = case.inputs().double().sum(dim=0)
    return exact, out.double() - exact


@check(_bulk)
def predicted_noise(trial: Trial, case: Case) -> None:
    """SQNR within 0.3 dB of the claimed codec's prediction, neither worse nor better (5, 17).

    Better means that something else than the claimed compression ran: a plain all-reduce, for one.
    """
    outcome = trial.run(case)[0]
    trial.shaped_like_input(case, outcome, 0)
    exact, error = _error(case, outcome.out)
    predicted = sqnr_db(exact, noise(case.inputs(), trial.subject.claimed, trial.subject.algorithm))
    measured = sqnr_db(exact, error.square())
    tolerance = TOLERANCE_DB
    if trial.subject.codec == "none":
        tolerance = PLAIN_TOLERANCE_DB
    elif trial.subject.codec.startswith("fp8"):
        tolerance = FLOAT_TOLERANCE_DB
    if not abs(measured - predicted) <= tolerance:
        trial.fail(case, f"SQNR {measured:.2f} dB, predicted {predicted:.2f} +- {tolerance} dB")


def _leaning(subject: Subject, ranks: int) -> Iterator[Case]:
    yield Case(ranks=ranks, shape=(32, 512), dtype="fp32", seed=2)
    # On other grids the data's own density makes rounding lean a little, and so do bf16 scales.
    if isinstance(subject.claimed, Int8) and not subject.claimed.rounds_sum:
        yield Case(ranks=ranks, shape=(32, 512), dtype="fp32", data="positive", seed=2)


@check(_leaning)
def unbiased(trial: Trial, case: Case) -> None:
    """|mean error| <= 4 sqrt(noise / n): rounding leans to neither side (7)."""
    outcome = trial.run(case)[0]
    trial.shaped_like_input(case, outcome, 0)
    _, error = _error(case, outcome.out)
    power = noise(case.inputs(), trial.subject.claimed, trial.subject.algorithm).mean().item()
    allowed = 4 * math.sqrt(power / error.numel())
    if not abs(error.mean().item()) <= allowed:
        trial.fail(case, f"mean error {error.mean().item():.3g}, allowed {allowed:.3g}")


def _spikes(_subject: Subject, ranks: int) -> Iterator[Case]:
    for factor in (30, 100, 254, 1000, 10000):
        yield Case(ranks=ranks, shape=(16, 512), dtype="fp32", data=f"spikes:{factor}", seed=factor)


@check(_spikes)
def beside_spikes(trial: Trial, case: Case) -> None:
    """Channels beside spikes keep their bound and the SQNR predicted for them, however little that is (8).

    Two-shot's is not predicted: beside spikes a sum is a few steps high, so that its second encoding errs in
    step with the first.
    """
    keep = torch.ones(case.shape[-1], dtype=torch.bool)
    keep[list(SPIKE_CHANNELS)] = False
    outcome = trial.run(case)[0]
    trial.shaped_like_input(case, outcome, 0)
    trial.within_bound(case, [outcome])
    if trial.subject.algorithm == "two_shot" or (trial.subject.codec, case.data) == _NOT_NOISE:
        return
    exact, error = _error(case, outcome.out)
    power = noise(case.inputs(), trial.subject.claimed, trial.subject.algorithm)
    predicted = sqnr_db(exact[:, keep], power[:, keep])
    measured = sqnr_db(exact[:, keep], error[:, keep].square())
    tolerance = COARSE_TOLERANCE_DB if trial.subject.codec != "none" else PLAIN_TOLERANCE_DB
    if not abs(measured - predicted) <= tolerance:
        trial.fail(case, f"SQNR beside spikes {measured:.2f} dB, predicted {predicted:.2f} +- {tolerance} dB")
