"""The collective on one GPU, in one process: any number of ranks, and the CPU's bits."""

import pytest
import torch

from harness.collective import simulate_all_reduce
from suites.numerics.cases.case import Case
from suites.numerics.promises import PROMISES
from suites.numerics.trial.simulation import NEEDS_PROCESSES, Simulation
from suites.numerics.trial.subject import Subject

if not torch.cuda.is_available():
    pytest.skip("needs an NVIDIA GPU", allow_module_level=True)

RANKS = (2, 4, 8, 16)

DATA = ("gaussian", "uneven", "columns", "cancellation", "zeros", "amplitudes", "nonfinite", "ties:127")


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("name", sorted(PROMISES.keys() - NEEDS_PROCESSES))
def test_simulated_ranks_keep_every_promise(subject: Subject, name: str, ranks: int) -> None:
    for case in PROMISES[name].cases(subject, ranks):
        if subject.takes(case.shape[-1]):
            PROMISES[name].run(Simulation([ranks], "cuda"), subject, case)


@pytest.mark.parametrize("dtype", ["bf16", "fp16", "fp32"])
@pytest.mark.parametrize("ranks", RANKS)
def test_the_gpu_gives_the_bits_of_the_cpu(subject: Subject, ranks: int, dtype: str) -> None:
    if subject.codec == "upstream_bf16":
        pytest.skip(
            "it is what torch's own sum gives on the device at hand; its codes are compared in tests/collective"
        )
    for seed, data in enumerate(DATA):
        inputs = Case(ranks=ranks, shape=(33, 320), dtype=dtype, data=data, seed=seed).inputs()
        ours = simulate_all_reduce(inputs.cuda(), codec=subject.codec, algorithm=subject.algorithm).cpu()
        expected = simulate_all_reduce(inputs, codec=subject.codec, algorithm=subject.algorithm, backend="eager")
        assert torch.equal(ours.isnan(), expected.isnan()), data
        assert torch.equal(ours.nan_to_num(nan=0.0), expected.nan_to_num(nan=0.0)), data
