"""What people run elsewhere, as functions of all ranks' messages: for ``simulate_all_reduce`` and ``wire_bytes``."""

import functools

import torch

from harness.collective.mechanisms.mechanism import Mechanism, UsersOwn
from harness.collective.mechanisms.own_stripe import FlashInferFp8, VllmProposal
from harness.collective.mechanisms.quickreduce import AiterFp8, QuickReduce
from harness.collective.mechanisms.tensorrt_llm import LowPrecision

_MECHANISMS: dict[str, Mechanism] = {
    mechanism.name: mechanism
    for mechanism in (
        *(QuickReduce(f"quickreduce_int{bits}", bits) for bits in (8, 6, 4, 3)),
        *(QuickReduce(f"quickreduce_int{bits}_gfx950", bits, clamp=False) for bits in (8, 6, 4, 3)),
        *(QuickReduce(f"quickreduce_int{bits}_bf16", bits, torch.bfloat16) for bits in (8, 6, 4, 3)),
        AiterFp8("aiter_fp8"),
        FlashInferFp8(),
        VllmProposal("vllm_pr39783_int8", integers=True),
        VllmProposal("vllm_pr39783_fp8", integers=False),
        LowPrecision(),
    )
}

__all__ = ["Mechanism", "find_mechanism", "mechanism_names"]


def mechanism_names() -> tuple[str, ...]:
    """Every mechanism's name, but for users' own ``module:function``."""
    return tuple(_MECHANISMS)


def find_mechanism(name: str) -> Mechanism | None:
    """The mechanism of this name, or the one that a ``module:function`` makes; None where it names neither.

    Raises:
        TypeError: There is no such function in that module.
        ImportError: The module can't be imported.
    """
    return _MECHANISMS.get(name) or (_users_own(name) if ":" in name else None)


@functools.lru_cache(maxsize=256)
def _users_own(name: str) -> Mechanism:
    # Not around the whole search: torch.compile warns of every cached function that it meets.
    return UsersOwn(name)
