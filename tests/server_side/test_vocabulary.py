"""A vocabulary that real processes have parts of, against the same in one process."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, distributed

from harness.sglang_plugin import vocabulary
from harness.sglang_plugin.vocabulary import Head, compare
from suites.ranks.pool import Pool

TOKENS, HIDDEN = 7, 8
# SGLang pads a vocabulary: of three ranks' 16 columns each the last one's end is no token.
VOCABULARY, PADDED = 41, 48


@dataclass
class Group:
    """SGLang's GroupCoordinator, as far as it is asked."""

    rank_in_group: int
    group: distributed.ProcessGroup

    @property
    def world_size(self) -> int:
        return self.group.size()

    def all_gather(self, own: Tensor, dim: int) -> Tensor:
        assert dim == 0
        parts = [torch.empty_like(own) for _ in range(self.world_size)]
        distributed.all_gather(parts, own, group=self.group)
        return torch.cat(parts)


class Processor:
    """SGLang's LogitsProcessor, which gathers all ranks' parts unless it is told not to."""

    config = SimpleNamespace(vocab_size=VOCABULARY)
    use_fp32_lm_head = use_attn_tp_group = do_tensor_parallel_all_gather_dp_attn = False

    def __init__(self, group: Group | None) -> None:
        self.do_tensor_parallel_all_gather = group is not None

    def _get_logits(self, states: Tensor, head: Tensor, _metadata: object) -> Tensor:
        assert self.use_fp32_lm_head
        assert not self.do_tensor_parallel_all_gather
        return (states @ head.T)[:, :VOCABULARY]


def found(group: Group | None, states: Tensor, other: Tensor, following: Tensor) -> dict[str, list[Any]]:
    weights = torch.randn(PADDED, HIDDEN, generator=torch.Generator().manual_seed(1))
    # Two tokens are alike, in different parts: the first one counts as the most likely.
    weights[40] = weights[3] = 2 * states[0]
    # What pads it must not be seen.
    weights[VOCABULARY:] = 100
    if group is not None:
        weights = weights.chunk(group.world_size)[group.rank_in_group]
    setattr(vocabulary, "get_tp_group", lambda: group)  # noqa: B010 - SGLang's, not the module's own
    setattr(vocabulary, "LogitsMetadata", SimpleNamespace(from_forward_batch=lambda batch: batch))  # noqa: B010
    head = Head(Processor(group), weights, None)
    return compare(head.log_probabilities(states), head.log_probabilities(other), following)


def on_rank(rank: int, group: distributed.ProcessGroup, *given: Tensor) -> dict[str, list[Any]]:
    return found(Group(rank, group), *given)


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool([2, 3]) as started:
        yield started


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_with_a_part_each_find_what_one_finds_that_has_all(
    pool: Pool, ranks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("get_tp_group", "LogitsMetadata"):
        monkeypatch.setattr(vocabulary, name, getattr(vocabulary, name))
    states, noise = torch.randn(2, TOKENS, HIDDEN, generator=torch.Generator().manual_seed(0))
    following = torch.tensor([0, 40, 15, 16, 31, 32, 3])
    for other in (states + 0.3 * noise, states):
        whole = found(None, states, other, following)
        parts = pool.run(ranks, on_rank, states, other, following)
        # Each rank has them, the same.
        assert all(part == parts[0] for part in parts)
        assert parts[0]["same_top"] == whole["same_top"]
        for name in ("kl", "baseline", "candidate"):
            assert parts[0][name] == pytest.approx(whole[name], rel=1e-4, abs=2e-6)
    assert parts[0]["kl"] == [0.0] * TOKENS
