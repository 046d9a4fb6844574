"""Attention of a decode step in plain torch: all prompts at once, and what they begin with once for all of them.

SGLang takes prompt after prompt, each with all of its keys. Here prompts of like lengths are one call, filled up to
the longest. Slots that all begin with (few-shot examples, which SGLang's cache holds once) are another, of all their
queries. Two results over disjoint keys are one by the logarithms of their sums of exponentials (Dao et al.,
FlashAttention, arXiv:2205.14135, section 3.1). The last bits may differ from SGLang's. Between two layers a model's
weights go through the processor's caches, and then a call of torch takes some 20 us however small: there are few.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

FLASH = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default  # noqa: SLF001
FILLED = 0.5
"""How long the shortest prompt of a call is at least, as a part of its longest."""
WORTH_SHARING = 1500
"""Rows that need not be picked again from which a call for what is shared takes less time than it saves."""


@dataclass(frozen=True)
class Alike:
    """Prompts that are taken together.

    Attributes:
        places: `[n]`, which ones; None for all of them in their order.
        slots: `[n x longest]`, the slots of their own tokens, filled up with their first.
        bias: `[n, 1, 1, longest]`, 0, and minus infinity where filled up; None where nothing is.
    """

    places: Tensor | None
    slots: Tensor
    bias: Tensor | None


class Step:
    """What all layers of a decode step have in common.

    Args:
        slots: `[prompts, longest]`, each prompt's slots in the cache, as far as it goes.
        lengths: How far.
        dtype: The queries'.
    """

    def __init__(self, slots: Tensor, lengths: Sequence[int], dtype: torch.dtype) -> None:
        shared = _in_common(slots, lengths)
        self._shared = slots[0, :shared] if shared else None
        own = [length - shared for length in lengths]
        self._alike = [_alike(slots[:, shared:], own, places, dtype) for places in _of_like_lengths(own)]

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, scale: float | None) -> Tensor:
        """Return what each prompt's query finds.

        Args:
            query: `[prompts, key heads, query heads of a key head, head size]`.
            keys: The cache, `[slots, key heads, head size]`.
            values: Likewise.
            scale: Of the scores; one over the root of the head size if None.

        Returns:
            The query's shape and dtype.
        """
        heads, size = keys.shape[1:]
        parts = []
        for alike in self._alike:
            asked = query if alike.places is None else query[alike.places]
            known, told = (
                picked(cache, alike.slots, query.dtype).view(asked.shape[0], -1, heads, size).movedim(1, 2)
                for cache in (keys, values)
            )
            parts.append(_flash(asked, known, told, alike.bias, scale))
        found, sums = parts[0]
        if len(parts) > 1:
            order = torch.cat([alike.places for alike in self._alike if alike.places is not None]).argsort()
            found, sums = (torch.cat(column)[order] for column in zip(*parts, strict=True))
        if self._shared is None:
            return found
        prompts, _, group, _ = query.shape
        known, told = (
            picked(cache, self._shared, query.dtype).movedim(0, 1).unsqueeze(0) for cache in (keys, values)
        )
        asked = query.movedim(0, 1).reshape(1, heads, prompts * group, size)
        seen, seen_sums = _flash(asked, known, told, None, scale)
        seen = seen.view(heads, prompts, group, size).movedim(1, 0)
        own_part = torch.sigmoid(sums - seen_sums.view(heads, prompts, group).movedim(1, 0)).unsqueeze(-1)
        return seen.float().lerp(found.float(), own_part).to(query.dtype)


def picked(cache: Tensor, slots: Tensor, dtype: torch.dtype) -> Tensor:
    """Return rows of a cache `[slots, heads, head size]`, each copied as a whole."""
    return torch.index_select(cache, 0, slots).to(dtype)


def _in_common(slots: Tensor, lengths: Sequence[int]) -> int:
    """Return with how many slots all prompts begin, less the newest token's: 0 where so few are not worth it."""
    begin = slots[:, : min(lengths) - 1]
    common = int((begin == begin[0]).all(dim=0).long().cumprod(dim=0).sum())
    return common if common * (len(lengths) - 1) >= WORTH_SHARING else 0


def _of_like_lengths(lengths: Sequence[int]) -> list[list[int]]:
    """Return the places of prompts that are taken together."""
    together: list[list[int]] = [[]]
    for place in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        if together[-1] and lengths[place] < FILLED * lengths[together[-1][0]]:
            together.append([])
        together[-1].append(place)
    return together


def _alike(slots: Tensor, lengths: Sequence[int], places: list[int], dtype: torch.dtype) -> Alike:
    everyone = len(places) == len(lengths)
    places = sorted(places)
    own, ends = slots[places], torch.tensor([lengths[place] for place in places])
    own = own[:, : int(ends.max())]
    filled = torch.arange(own.shape[1]) >= ends.unsqueeze(-1)
    bias = torch.zeros(filled.shape, dtype=dtype).masked_fill(filled, -torch.inf)[:, None, None]
    return Alike(
        places=None if everyone else torch.tensor(places),
        slots=own[:, :1].where(filled, own).flatten(),
        bias=bias if filled.any() else None,
    )


def _flash(
    query: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None, scale: float | None
) -> tuple[Tensor, Tensor]:
    """Return attention and the logarithm of its exponentials' sum, which torch's public function keeps to itself."""
    found: tuple[Tensor, Tensor] = FLASH(query, keys, values, attn_mask=bias, scale=scale)
    return found
