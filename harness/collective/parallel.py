"""The two groups whose sums a transformer layer compresses, and an entry point for each."""

from dataclasses import dataclass

from torch import Tensor

from harness.collective.coordinator import Coordinator


@dataclass(frozen=True, kw_only=True)
class ParallelGroups:
    """A model's groups. They differ under data-parallel attention, and are one and the same otherwise."""

    tensor: Coordinator
    attention: Coordinator


def tensor_model_parallel_quant_all_reduce(x: Tensor, groups: ParallelGroups) -> Tensor:
    """Sums ``x`` ``[..., H]`` over the tensor-parallel group, compressed: what ends an MLP."""
    return groups.tensor.quant_all_reduce(x)


def attention_tensor_model_parallel_quant_all_reduce(x: Tensor, groups: ParallelGroups) -> Tensor:
    """Sums ``x`` ``[..., H]`` over the attention group, compressed: what ends an attention block."""
    return groups.attention.quant_all_reduce(x)
