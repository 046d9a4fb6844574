"""The installed SGLang's own collective, unmodified: the promises it keeps and those it breaks.

Written for 0.5.23. On another version a test that fails here is news about SGLang: see docs/collective.md.
What the stand-in does with NaNs and rows of zeros is its own; the hardware's behaviour is undocumented.
"""

import importlib.util
from collections.abc import Iterator

import pytest
import torch

from harness.collective import simulate_all_reduce
from suites.numerics.cases.case import Case, in_dtypes
from suites.numerics.planted.catalogue import CORRECT
from suites.numerics.promises import PROMISES
from suites.numerics.trial.subject import Subject
from suites.numerics.trial.trial import Trial, ViolationError
from suites.ranks.pool import Pool

pytestmark = pytest.mark.skipif(importlib.util.find_spec("sglang") is None, reason="SGLang isn't installed")

KERNELS = ("a2", "950")
RANKS = 2


def upstream(kernel: str, codec: str) -> Subject:
    return Subject(implementation=f"suites.implementations.sglang_upstream:all_reduce_{kernel}", codec=codec)


@pytest.fixture(scope="module")
def sglang_pool() -> Iterator[Pool]:
    """A pool of its own: each process that imports SGLang pays seconds and memory for it."""
    with Pool([RANKS]) as pool:
        yield pool


def matrices(subject: Subject, promise: str) -> Iterator[Case]:
    """The promise's cases that the kernel takes and that are a matrix."""
    cases = in_dtypes(PROMISES[promise].cases(subject, RANKS), ["bf16", "fp16"])
    return (case for case in cases if len(case.shape) == 2)


@pytest.mark.parametrize("promise", PROMISES)
def test_matrices_keep_every_promise_of_upstreams_own_arithmetic(sglang_pool: Pool, promise: str) -> None:
    subject = upstream("a2", "upstream_bf16")
    cases = list(matrices(subject, promise))
    for case in cases:
        PROMISES[promise].run(sglang_pool, subject, case)
    assert cases


@pytest.mark.parametrize("data", ["gaussian", "uneven", "cancellation", "bf16_traps"])
def test_the_codec_upstream_bf16_is_upstream_bit_for_bit(sglang_pool: Pool, data: str) -> None:
    case = Case(ranks=RANKS, shape=(33, 320), data=data, seed=8)
    trial = Trial(sglang_pool, upstream("a2", "upstream_bf16"), "pointwise_bound")
    expected = simulate_all_reduce(case.inputs(), codec="upstream_bf16")
    for outcome in trial.run(case):
        assert torch.equal(outcome.out, expected)


@pytest.mark.parametrize(
    ("promise", "words"),
    [
        ("pointwise_bound", "times the bound"),
        ("cancellation", "times the bound"),
        ("one_rank_alone", "times the bound"),
        ("bf16_arithmetic", "times the bound"),
        ("predicted_noise", "SQNR"),
    ],
)
@pytest.mark.parametrize("kernel", KERNELS)
def test_it_does_not_reduce_in_full_precision(sglang_pool: Pool, kernel: str, promise: str, words: str) -> None:
    """Its comment says so; scales, products and the sum are bf16's. An implementation that does passes all of it."""
    subject = upstream(kernel, "int8_token")
    violations = []
    for case in matrices(subject, promise):
        PROMISES[promise].run(sglang_pool, CORRECT["plain_steps"], case)
        try:
            PROMISES[promise].run(sglang_pool, subject, case)
        except ViolationError as violation:
            violations.append(violation)
    assert violations
    assert all(words in str(violation) and not violation.crashed for violation in violations)


def test_a_tensor_of_three_dimensions_breaks_it(sglang_pool: Pool) -> None:
    """Its buffer of gathered scales has the first dimension alone."""
    case = Case(ranks=RANKS, shape=(2, 3, 64))
    subject = upstream("a2", "upstream_bf16")
    with pytest.raises(ViolationError, match="invalid tensor size") as raised:
        PROMISES["shapes"].run(sglang_pool, subject, case)
    assert raised.value.crashed
