"""SGLang's attention in plain torch, the one that a CPU without AMX has, less what it computes for nothing.

Both arms have it alike. Keys and values are picked from the cache row by row instead of number by number: the same
bits. Two things may change the last bit. Of a prompt whose beginning is cached SGLang computes the beginning's
queries again and throws them away (`TODO` in its torch_native_backend.py): here they are left out. And a decode step
takes all prompts at once (harness.sglang_plugin.cpu_decode).
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from sglang.srt.plugins.hook_registry import HookRegistry, HookType
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from harness.sglang_plugin.cpu_decode import Step, picked

BACKEND = "sglang.srt.layers.attention.torch_native_backend.TorchNativeAttnBackend"


class Rows:
    """A cache `[tokens, heads, head size]` of which rows are picked by copying each as a whole."""

    def __init__(self, cache: Tensor) -> None:
        self._cache = cache

    def __getitem__(self, tokens: Tensor) -> Tensor:
        """Return the rows of those tokens, `[len(tokens), heads, head size]`."""
        return torch.index_select(self._cache, 0, tokens)


def register_cpu_attention() -> None:
    """Register the hooks."""
    HookRegistry.register(f"{BACKEND}._run_sdpa_forward_decode", Decode().hook, HookType.AROUND)
    HookRegistry.register(f"{BACKEND}._run_sdpa_forward_extend", extend, HookType.AROUND)


class Decode:
    """SGLang's attention of one new token a prompt, which sees all of its prompt."""

    def __init__(self) -> None:
        self._step: Step | None = None
        self._made_of: tuple[object, ...] = ()

    def hook(  # noqa: PLR0917 - SGLang passes them by position
        self,
        original: Callable[..., Tensor],
        backend: object,
        query: Tensor,
        output: Tensor,
        k_cache: Tensor,
        v_cache: Tensor,
        req_to_token: Tensor,
        req_pool_indices: Tensor,
        seq_lens: Tensor,
        *encoder_lens: Tensor | None,
        **kwargs: Any,  # noqa: ANN401 - SGLang's
    ) -> Tensor:
        """Run in its place, with the arguments of `extend` but for the lengths of what is cached."""
        masked = kwargs.get("causal") or kwargs.get("is_cross_attn") or not _plain(encoder_lens, kwargs)
        if masked or k_cache.shape != v_cache.shape:
            rows = Rows(k_cache), Rows(v_cache)
            return original(
                backend, query, output, *rows, req_to_token, req_pool_indices, seq_lens, *encoder_lens, **kwargs
            )
        lengths = seq_lens.tolist()
        if self._step is None or self._is_another(k_cache, lengths, req_to_token, req_pool_indices, seq_lens):
            slots = req_to_token[req_pool_indices, : max(lengths)]
            self._step = Step(slots, lengths, query.dtype)
            self._made_of = k_cache.data_ptr(), lengths, req_to_token, req_pool_indices, seq_lens
        # Head h of the queries looks at key head h // group.
        asked = query.view(query.shape[0], k_cache.shape[1], -1, query.shape[2])
        output.copy_(self._step.attend(asked, k_cache, v_cache, kwargs.get("scaling")).flatten(1, 2))
        return output

    def _is_another(self, k_cache: Tensor, lengths: list[int], *tensors: Tensor) -> bool:
        """Return whether this is not the step that all layers after its first one ask with the same tensors."""
        first, of, *same = self._made_of
        others = any(one is not other for one, other in zip(tensors, same, strict=True))
        return others or lengths != of or k_cache.data_ptr() == first


def extend(  # noqa: PLR0917 - see above
    original: Callable[..., Tensor],
    backend: object,
    query: Tensor,
    output: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    req_to_token: Tensor,
    req_pool_indices: Tensor,
    seq_lens: Tensor,
    extend_prefix_lens: Tensor,
    extend_seq_lens: Tensor,
    *encoder_lens: Tensor | None,
    **kwargs: Any,  # noqa: ANN401 - SGLang's
) -> Tensor:
    """Run around SGLang's attention of a prefill; where a prompt's beginning is cached, in its place.

    Args:
        original: SGLang's.
        backend: Its object.
        query: `[tokens, heads, head size]`, prompt after prompt, of what is not cached.
        output: The same shape, which is filled.
        k_cache: `[slots, key heads, head size]`.
        v_cache: `[slots, key heads, head size]`.
        req_to_token: `[requests, context]`, each prompt's slots.
        req_pool_indices: `[prompts]`, their rows in it.
        seq_lens: `[prompts]`, their tokens.
        extend_prefix_lens: `[prompts]`, how many of these are cached.
        extend_seq_lens: `[prompts]`, how many are not.
        encoder_lens: As in SGLang, whose first releases have none.
        kwargs: As in SGLang.
    """
    lengths = req_pool_indices, seq_lens, extend_prefix_lens, extend_seq_lens
    if not kwargs.get("causal") or not _plain(encoder_lens, kwargs) or not int(extend_prefix_lens.max()):
        rows = Rows(k_cache), Rows(v_cache)
        return original(backend, query, output, *rows, req_to_token, *lengths, *encoder_lens, **kwargs)
    start = 0
    for request, length, cached, own in zip(*(column.tolist() for column in lengths), strict=True):
        tokens, end = req_to_token[request, :length], start + own
        known, told = (picked(cache, tokens, query.dtype).movedim(0, 1).unsqueeze(0) for cache in (k_cache, v_cache))
        asked = query[start:end].movedim(0, 1).unsqueeze(0)
        sees = _sees(own, cached, query.dtype)
        gqa, scale = kwargs.get("enable_gqa", False), kwargs.get("scaling")
        found = scaled_dot_product_attention(asked, known, told, attn_mask=sees, enable_gqa=gqa, scale=scale)
        output[start:end] = found.squeeze(0).movedim(1, 0)
        start = end
    return output


@lru_cache(maxsize=128)
def _sees(own: int, cached: int, dtype: torch.dtype) -> Tensor:
    """Return what is added to the scores of own tokens: token i sees what is cached and those up to itself.

    All layers need the same. As numbers: torch would make them of a bool mask, for each layer anew.
    """
    return torch.full((own, cached + own), -torch.inf, dtype=dtype).triu(cached + 1)


def _plain(encoder_lens: tuple[Tensor | None, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether there is neither a window nor an encoder."""
    return kwargs.get("sliding_window_size") is None and not any(given is not None for given in encoder_lens)
