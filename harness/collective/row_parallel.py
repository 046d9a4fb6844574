"""A linear layer whose input features are spread over ranks."""

import torch
from torch import Tensor, nn

from harness.collective.coordinator import Coordinator
from harness.collective.gate import ForwardMode, compresses


class RowParallelLinear(nn.Module):
    """``y = x W^T + b`` with W's columns cut over a group: each rank's part is summed over the group.

    The layer at the end of attention (``o_proj``) and of the MLP (``down_proj``), where SGLang's PR 20520
    compresses. The bias is added once, after the sum, so that it is never quantized.

    Args:
        weight: This rank's ``[out, in / N]``.
        bias: ``[out]``, the same on every rank, or None.
        coordinator: The group and its all-reduces.
        enabled: Whether compression was asked for at start-up.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None, coordinator: Coordinator, *, enabled: bool) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self._coordinator = coordinator
        self._enabled = enabled

    def forward(self, x: Tensor, mode: ForwardMode | None = None) -> Tensor:
        """Maps this rank's ``[..., in / N]`` to the full ``[..., out]``, compressed where the gate opens."""
        partial = torch.nn.functional.linear(x, self.weight)
        if self._coordinator.ranks == 1:
            total = partial
        elif compresses(mode, enabled=self._enabled, ranks=self._coordinator.ranks):
            total = self._coordinator.quant_all_reduce(partial)
        else:
            total = self._coordinator.all_reduce(partial)
        return total if self.bias is None else total + self.bias
