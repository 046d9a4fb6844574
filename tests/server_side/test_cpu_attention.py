"""SGLang's attention in plain torch, with the hooks around it and without, on one cache."""

from typing import Any

import pytest
import torch
from sglang.srt.layers.attention.torch_native_backend import TorchNativeAttnBackend

from harness.sglang_plugin import cpu_decode
from harness.sglang_plugin.cpu_attention import Decode, extend

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


def both_decode(lengths: list[int], **changed: object) -> tuple[torch.Tensor, torch.Tensor]:
    given = paged(lengths, [length - 1 for length in lengths]) | {"causal": False} | changed
    del given["extend_prefix_lens"], given["extend_seq_lens"]
    plain = BACKEND._run_sdpa_forward_decode(**given).clone()
    return plain, Decode().hook(TorchNativeAttnBackend._run_sdpa_forward_decode, BACKEND, **given)


def beginning_alike(prompts: int, alike: int) -> torch.Tensor:
    """Return slots of prompts that begin with the same ones."""
    slots: torch.Tensor = paged([1] * prompts, [0] * prompts)["req_to_token"]
    slots[:, :alike] = slots[0, :alike].clone()
    return slots


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("lengths", [[40, 1, 77], [60, 77, 70], [50]])
def test_a_decode_step_sees_all_of_each_prompt_or_what_its_window_shows(
    lengths: list[int], window: int | None
) -> None:
    plain, hooked = both_decode(lengths, sliding_window_size=window)
    torch.testing.assert_close(hooked, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("lengths", [[40, 41, 77, 41], [77, 41], [60]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_decode_step_sees_what_all_prompts_begin_with(
    monkeypatch: pytest.MonkeyPatch, lengths: list[int], dtype: torch.dtype
) -> None:
    monkeypatch.setattr(cpu_decode, "WORTH_SHARING", 1)
    given = paged(lengths, [length - 1 for length in lengths])
    changed = {name: given[name].to(dtype) for name in ("query", "output")}
    plain, hooked = both_decode(lengths, req_to_token=beginning_alike(len(lengths), 40), **changed)
    precision = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(hooked, plain, rtol=precision, atol=precision)


def test_a_step_of_the_same_lengths_in_other_slots_is_another_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_decode, "WORTH_SHARING", 1)
    hook = Decode().hook
    # SGLang's table of slots is written over in place, and its other tensors may be the same ones again.
    given = paged([60, 50], [59, 49]) | {"causal": False}
    del given["extend_prefix_lens"], given["extend_seq_lens"]
    for others in (False, True):
        for alike in (40, 0, 40):
            given["req_to_token"].copy_(beginning_alike(2, alike))
            given["seq_lens"] = given["seq_lens"].clone() if others else given["seq_lens"]
            plain = BACKEND._run_sdpa_forward_decode(**given).clone()
            hooked = hook(TorchNativeAttnBackend._run_sdpa_forward_decode, BACKEND, **given)
            torch.testing.assert_close(hooked, plain, rtol=1e-5, atol=1e-6)
    for cache in ("k_cache", "v_cache"):
        given[cache] = given[cache].clone()
    given["seq_lens"], given["req_to_token"] = given["seq_lens"].clone(), beginning_alike(2, 0)
    plain = BACKEND._run_sdpa_forward_decode(**given).clone()
    hooked = hook(TorchNativeAttnBackend._run_sdpa_forward_decode, BACKEND, **given)
    torch.testing.assert_close(hooked, plain, rtol=1e-5, atol=1e-6)
