"""Codecs x algorithms x backends: every combination gives the same bits, in real groups and simulated."""

import pytest
import torch

from harness.collective import simulate_all_reduce
from suites.numerics.cases.case import Case
from suites.numerics.trial.subject import Subject
from suites.numerics.trial.trial import Trial
from suites.ranks.bits import same_bits
from suites.ranks.pool import Pool

BACKENDS = ("eager", "tiled")
"""Those that work on any CPU; tests/collective tries the NPU's through its stand-in."""

MESSAGES = (
    ((513, 1024), "bf16", "uneven"),  # more rows than a tile has
    ((2, 5, 130), "fp16", "spikes:100"),
    ((8, 130), "fp32", "nonfinite"),
)


@pytest.mark.parametrize("message", MESSAGES, ids=str)
def test_every_backend_gives_the_bits_of_the_real_collective(
    pool: Pool, subject: Subject, rank_counts: list[int], message: tuple[tuple[int, ...], str, str]
) -> None:
    shape, dtype, data = message
    for ranks in {rank_counts[0], rank_counts[-1]}:
        case = Case(ranks=ranks, shape=shape, dtype=dtype, data=data, seed=21)
        real = Trial(pool, subject, "ranks_agree").run(case)[0].out
        finite = real.isfinite()
        for backend in BACKENDS:
            simulated = simulate_all_reduce(
                case.inputs(), codec=subject.codec, algorithm=subject.algorithm, backend=backend
            )
            # Which of its many bit patterns a NaN has is nobody's promise.
            assert torch.equal(simulated.isfinite(), finite), f"{backend}, {case}"
            assert same_bits(simulated[finite], real[finite]), f"{backend}, {case}"
