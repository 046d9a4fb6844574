"""SGLang's log-probabilities of prompts, with the hooks around them and without."""

import pytest
import torch
from sglang.srt.layers import logprob_processor

from harness.sglang_plugin import vocabulary
from harness.sglang_plugin.cpu_logprobs import normalizer, top

ROWS, VOCABULARY = 9, 50


def logits() -> torch.Tensor:
    drawn = torch.randn(ROWS, VOCABULARY, generator=torch.Generator().manual_seed(0))
    # One that a mask has emptied, and one with a token that nothing can be added to.
    drawn[4] = -torch.inf
    drawn[5, 7] = torch.inf
    return drawn


def test_rows_are_normalized_with_sglangs_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "CACHED_ELEMENTS", 2 * VOCABULARY)
    plain = logprob_processor.compute_row_log_normalizer(logits())
    hooked = normalizer(logprob_processor.compute_row_log_normalizer, logits())
    assert all(torch.equal(*pair) for pair in zip(plain, hooked, strict=True))


@pytest.mark.parametrize("asked", [1, 3])
def test_the_most_likely_tokens_are_sglangs(asked: int) -> None:
    drawn = logits()[ROWS // 2 + 1 :].repeat(2, 1)
    # Two texts, of which the second has another row, in the next chunk.
    arguments = (drawn, [asked, asked], [3, 6])
    values: list[list[list[object]]] = []
    for find in (logprob_processor.get_top_logprobs_chunk, None):
        value: list[object] = []
        index: list[object] = []
        options = {"log_normalizer": logprob_processor.compute_row_log_normalizer(drawn)}
        given = (*arguments, value, index, 0)
        left = find(*given, **options) if find else top(logprob_processor.get_top_logprobs_chunk, *given, **options)
        values.append([[left], value, index])
    assert str(values[0]) == str(values[1])
