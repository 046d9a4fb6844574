"""SGLang's attention in plain torch, with the hooks around it and without, on one cache."""

from typing import Any

import pytest
import torch
from sglang.srt.layers.attention.torch_native_backend import TorchNativeAttnBackend

from harness.sglang_plugin.cpu_attention import decode, extend

HEADS, KEY_HEADS, SIZE, SLOTS, CONTEXT = 6, 2, 64, 512, 96
BACKEND = object.__new__(TorchNativeAttnBackend)


def paged(lengths: list[int], cached: list[int]) -> dict[str, Any]:
    """Return what SGLang hands over for prompts of which so many tokens are cached, in slots of no order."""
    torch.manual_seed(0)
    own = torch.tensor(lengths) - torch.tensor(cached)
    slots = torch.randperm(SLOTS)[: len(lengths) * CONTEXT].reshape(len(lengths), CONTEXT).to(torch.int32)
    query = torch.randn(int(own.sum()), HEADS, SIZE)
    return {
        "query": query,
        "output": torch.empty_like(query),
        "k_cache": torch.randn(SLOTS, KEY_HEADS, SIZE),
        "v_cache": torch.randn(SLOTS, KEY_HEADS, SIZE),
        "req_to_token": slots,
        "req_pool_indices": torch.arange(len(lengths)).flip(0),
        "seq_lens": torch.tensor(lengths),
        "extend_prefix_lens": torch.tensor(cached),
        "extend_seq_lens": own,
        "scaling": 0.1,
        "enable_gqa": True,
        "causal": True,
    }


def both(lengths: list[int], cached: list[int], **changed: object) -> tuple[torch.Tensor, torch.Tensor]:
    given = paged(lengths, cached) | changed
    plain = BACKEND._run_sdpa_forward_extend(**given).clone()
    return plain, extend(TorchNativeAttnBackend._run_sdpa_forward_extend, BACKEND, **given)


def test_a_prefill_of_whole_prompts_has_sglangs_bits() -> None:
    plain, hooked = both([40, 1, 77], [0, 0, 0])
    assert torch.equal(hooked, plain)


@pytest.mark.parametrize("cached", [[30, 0, 76], [1, 0, 70], [39, 0, 0]])
def test_what_is_cached_is_seen_and_not_computed_again(cached: list[int]) -> None:
    plain, hooked = both([40, 1, 77], cached)
    torch.testing.assert_close(hooked, plain, rtol=1e-5, atol=1e-6)


def test_what_is_cached_is_seen_in_16_bits_too() -> None:
    given = paged([40, 30], [10, 20])
    plain, hooked = both([40, 30], [10, 20], query=given["query"].bfloat16(), output=given["output"].bfloat16())
    torch.testing.assert_close(hooked, plain, rtol=2e-2, atol=2e-2)


def test_other_masks_than_the_causal_one_stay_sglangs() -> None:
    plain, hooked = both([40, 30], [10, 20], sliding_window_size=4)
    assert torch.equal(hooked, plain)
    plain, hooked = both([40, 30], [10, 20], causal=False)
    assert torch.equal(hooked, plain)


@pytest.mark.parametrize("window", [None, 4])
def test_a_decode_step_sees_all_of_each_prompt_or_what_its_window_shows(window: int | None) -> None:
    given = paged([40, 1, 77], [39, 0, 76])
    del given["extend_prefix_lens"], given["extend_seq_lens"]
    given |= {"causal": False, "sliding_window_size": window}
    plain = BACKEND._run_sdpa_forward_decode(**given).clone()
    hooked = decode(TorchNativeAttnBackend._run_sdpa_forward_decode, BACKEND, **given)
    torch.testing.assert_close(hooked, plain, rtol=1e-5, atol=1e-6)
