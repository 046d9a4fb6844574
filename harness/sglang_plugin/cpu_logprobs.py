"""SGLang's log-probabilities of prompts on a CPU, with the same results in less time. In both arms alike.

A chunk's logits are normalized some rows at a time, which a processor's cache holds, and the most likely token, where
no more is asked for, is found as a maximum: torch's `topk` sorts on the way. Of several tokens that are as likely it
is the first, as SGLang's own kernel on GPUs has it.
"""

from collections.abc import Callable
from importlib import import_module
from inspect import signature
from typing import Any

import torch
from sglang.srt.plugins.hook_registry import HookRegistry, HookType
from torch import Tensor

from harness.sglang_plugin.vocabulary import blocks

# In 0.5.23, and not yet in 0.5.16.
MODULE = "sglang.srt.layers.logprob_processor"
NORMALIZER, TOP = "compute_row_log_normalizer", "get_top_logprobs_chunk"


def register_cpu_logprobs() -> None:
    """Register the hooks, in a release that has what they are around."""
    try:
        module = import_module(MODULE)
    except ModuleNotFoundError:
        return
    if hasattr(module, NORMALIZER):
        HookRegistry.register(f"{MODULE}.{NORMALIZER}", normalizer, HookType.AROUND)
    if "precomputed_topk" in signature(getattr(module, TOP, lambda: None)).parameters:
        HookRegistry.register(f"{MODULE}.{TOP}", top, HookType.AROUND)


def normalizer(original: Callable[..., tuple[Tensor, Tensor]], logits: Tensor) -> tuple[Tensor, Tensor]:
    """Run around what finds each row's maximum and the logarithm of its sum: `[T, V]` -> `[T]`, `[T]`."""
    largest, sums = zip(*(original(block) for block in blocks(logits)), strict=True)
    return torch.cat(largest), torch.cat(sums)


def top(original: Callable[..., int], logits: Tensor, nums: list[int], *args: Any, **kwargs: Any) -> int:  # noqa: ANN401 - SGLang's
    """Run around what finds the most likely tokens of each row."""
    if max(nums) == 1 and kwargs.get("log_normalizer") is not None and kwargs.get("precomputed_topk") is None:
        kwargs["precomputed_topk"] = tuple(logits.max(dim=1, keepdim=True))
    return original(logits, nums, *args, **kwargs)
