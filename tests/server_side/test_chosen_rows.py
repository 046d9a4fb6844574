"""Some rows of a sum compressed, and no others."""

from itertools import pairwise
from math import inf

import pytest
import torch

from harness.collective import simulate_all_reduce
from harness.sglang_plugin.chosen_rows import chosen, crest, sum_chosen
from harness.sglang_plugin.codecs import policy_problems, simulation
from harness.sglang_plugin.plain_sum import plain_sum
from harness.sglang_plugin.policy import CREST, POSITION, Choice, Rows, uniform

RANKS, TOKENS, WIDTH = 2, 50, 64
INT8 = Choice(codec="int8_token")


def parts() -> torch.Tensor:
    """Messages whose row t has a spike of t in one rank alone: the later, the larger its crest factor."""
    generator = torch.Generator().manual_seed(0)
    messages = torch.randn(RANKS, TOKENS, WIDTH, generator=generator).sign()
    messages[1, :, 3] = 2 + 0.2 * torch.arange(TOKENS, dtype=torch.float32)
    return messages


@pytest.mark.parametrize(
    ("rows", "want"),
    [
        (Rows(by=CREST, low=96, high=100), [48, 49]),
        (Rows(by=CREST, low=0, high=4), [0, 1]),
        (Rows(by=POSITION, low=0, high=1), [0, 25]),
        (Rows(by=POSITION, low=23, high=inf), [23, 24, 48, 49]),
    ],
)
def test_rows_are_told_by_their_crest_or_position(rows: Rows, want: list[int]) -> None:
    # Two sequences of 25 tokens.
    positions = torch.arange(TOKENS) % 25
    assert chosen(rows, parts(), positions).nonzero().flatten().tolist() == want


def test_classes_of_rows_leave_none_out_and_have_none_twice() -> None:
    ends = (0, 84, 96, 99, 100)
    counts = sum(
        chosen(Rows(by=CREST, low=low, high=high), parts(), torch.zeros(TOKENS)).int() for low, high in pairwise(ends)
    )
    assert torch.equal(torch.as_tensor(counts), torch.ones(TOKENS, dtype=torch.int32))


def test_only_the_chosen_rows_are_compressed() -> None:
    messages = parts()
    which = torch.arange(TOKENS) % 3 == 0
    served = sum_chosen(plain_sum(messages), which, messages, simulation(INT8))
    compressed = simulate_all_reduce(messages, codec="int8_token", algorithm="one_shot")
    assert torch.equal(served[which], compressed[which])
    assert torch.equal(served[~which], plain_sum(messages)[~which])
    assert not torch.equal(served[which], plain_sum(messages)[which])


def test_a_crest_factor_is_the_largest_of_the_ranks() -> None:
    messages = torch.ones(2, 3, 4)
    messages[1, 1] = torch.tensor([4.0, 0, 0, 0])
    messages[:, 2] = 0
    assert crest(messages).tolist() == [1, 2, 0]
    # Where squares overflow, too.
    assert crest(messages * 1e30).tolist() == pytest.approx([1, 2, 0])


def test_a_row_without_a_position_is_no_guess() -> None:
    with pytest.raises(ValueError, match="50 rows have 3 positions"):
        chosen(Rows(by=POSITION, low=0, high=1), parts(), torch.zeros(3))


def test_real_ranks_refuse_some_rows() -> None:
    policy = uniform(Choice(codec="int8_token", rows=Rows(by=CREST, low=0, high=50)))
    assert policy_problems(policy, virtual=True) == []
    (problem,) = policy_problems(policy)
    assert "only virtual ranks compute this" in problem
