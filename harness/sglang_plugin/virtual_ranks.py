"""N ranks in a server of one: its layers cut as SGLang's tensor parallelism cuts them, and their parts summed.

What N ranks compute differs from what one computes in the sums that end attention (`o_proj`) and the FFN
(`down_proj`) alone. There each rank multiplies its columns and rounds the product to the model's dtype, and the
products are summed. So the same is done here, one part after the other; all else stays SGLang's own.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

CPU_INTERMEDIATE = 32
"""SGLang on a CPU pads the FFN's columns until each rank has a multiple of so many (configs/update_config.py)."""

Sum = Callable[[str, int, Tensor], Tensor]
"""f(site, layer, parts `[N, T, H]`) -> `[T, H]`."""

_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.(?:.+\.)?(o_proj|down_proj)$")
_SITES = {"o_proj": "attention", "down_proj": "ffn"}


class CannotCutError(ValueError):
    """A model cannot be cut into so many virtual ranks; the message says all that is in the way."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What decides how a model is cut.

    Attributes:
        heads: Query heads.
        kv_heads: Key-value heads.
        intermediate: Columns of `down_proj`.
    """

    heads: int
    kv_heads: int
    intermediate: int


def padded(shape: Shape, ranks: int, *, on_cpu: bool) -> Shape:
    """Return the shape as it is cut: N divides its heads and its columns.

    On a CPU SGLang pads what N does not divide (`adjust_config_with_unaligned_cpu_tp`): key-value heads up to a
    multiple of N, query heads with them in groups of the size they have, columns up to a multiple of 32 N. What is
    padded is zero, stands at the end, and may be all that a rank has. Elsewhere SGLang pads nothing; where there are
    fewer key-value heads than ranks, several ranks have the same one.

    Raises:
        CannotCutError: SGLang would not serve the model at N ranks there; all reasons at once.
    """
    heads, kv_heads, intermediate = shape.heads, shape.kv_heads, shape.intermediate
    if on_cpu:
        if heads % ranks or kv_heads % ranks:
            grouped = heads // kv_heads
            kv_heads = _up(kv_heads, ranks)
            heads = kv_heads * grouped
        return Shape(heads=heads, kv_heads=kv_heads, intermediate=_up(intermediate, CPU_INTERMEDIATE * ranks))
    problems = []
    if heads % ranks:
        problems.append(f"{heads} attention heads are not divisible by it")
    if max(kv_heads, ranks) % min(kv_heads, ranks):
        problems.append(f"neither is {kv_heads} key-value heads divisible by it, nor it by them")
    if intermediate % ranks:
        problems.append(f"{intermediate} columns of the FFN are not divisible by it")
    if problems:
        raise CannotCutError(f"SGLang serves no tensor parallelism of {ranks} here: {'; '.join(problems)}")
    return shape


def cut(runner: Any, ranks: int, total: Sum) -> None:  # noqa: ANN401 - SGLang's ModelRunner
    """Cut every decoder layer of a loaded model.

    Args:
        runner: A runner of one rank whose model is loaded.
        ranks: N.
        total: How parts are summed.

    Raises:
        CannotCutError: The server is parallel already, or the model is none of plain dense decoder layers, or SGLang
            would not serve it at N ranks; all reasons at once.
    """
    config, layers = runner.model_config, list(_layers(runner.model))
    problems = _problems(runner, layers)
    if problems:
        raise CannotCutError(f"no {ranks} virtual ranks: {'; '.join(problems)}")
    for site, layer, module in layers:
        shape = Shape(
            heads=config.num_attention_heads,
            kv_heads=config.get_total_num_kv_heads(),
            intermediate=module.weight.shape[1] if site == "ffn" else ranks * CPU_INTERMEDIATE,
        )
        wide = padded(shape, ranks, on_cpu=runner.device == "cpu")
        width = wide.intermediate if site == "ffn" else module.weight.shape[1] // shape.heads * wide.heads
        parts = _parts(module.weight, ranks, width)
        module.forward = _CutLayer(module, parts, partial(total, site, layer)).forward


def plain_sum(parts: Tensor) -> Tensor:
    """Sum `[N, T, H]` in the order of the ranks, rounding to the parts' dtype each time, as a plain all-reduce does.

    A ring or a tree adds in an order that depends on the element: at N > 2 last bits differ from it.
    """
    total = parts[0].clone()
    for part in parts[1:]:
        total += part
    return total


@dataclass(frozen=True)
class _CutLayer:
    """Stands in for the forward pass of a RowParallelLinear.

    Attributes:
        module: The layer.
        ranks: Each rank's part of it, `weight` of `[H, columns]`.
        total: f(parts `[N, T, H]`) -> `[T, H]`.
    """

    module: Any
    ranks: list[SimpleNamespace]
    total: Callable[[Tensor], Tensor]

    def forward(self, input_: Tensor, *_: object, **options: object) -> tuple[Tensor, Tensor | None]:
        """Return what `RowParallelLinear.forward` does. Whoever skips its sum makes it later, which is the same here.

        Args:
            input_: `[T, columns]`.
            options: RowParallelLinear's.
        """
        if options.get("output_tensor") is not None:
            raise NotImplementedError("virtual ranks do not write into a tensor of the caller's")
        missing = sum(part.weight.shape[1] for part in self.ranks) - input_.shape[-1]
        columns = torch.nn.functional.pad(input_, (0, missing)).chunk(len(self.ranks), dim=-1)
        skips_bias = self.module.skip_bias_add
        products = [
            # Rank 0 adds the bias before the sum, unless the caller adds it.
            self.module.quant_method.apply(part, x.contiguous(), None if rank or skips_bias else self.module.bias)
            for rank, (part, x) in enumerate(zip(self.ranks, columns, strict=True))
        ]
        return self.total(torch.stack(products)), self.module.bias if skips_bias else None


def _layers(model: torch.nn.Module) -> Iterator[tuple[str, int, Any]]:
    for name, module in model.named_modules():
        if found := _LAYER.search(name):
            yield _SITES[found[2]], int(found[1]), module


def _problems(runner: Any, layers: list[tuple[str, int, Any]]) -> list[str]:  # noqa: ANN401 - SGLang's
    args, count = runner.server_args, runner.model_config.num_hidden_layers
    problems = [
        f"the server runs with {name}={value}, not 1: the one rank is to be cut"
        for name in ("tp_size", "pp_size", "dp_size")
        if (value := getattr(args, name, 1)) != 1
    ]
    for projection, site in _SITES.items():
        found = sorted(layer for where, layer, _ in layers if where == site)
        if found != list(range(count)):
            problems.append(
                f"the model has {count} layers and a `{projection}` in {len(found)} places: only models of dense "
                "decoder layers that name them so can be cut"
            )
    odd = [
        f"layer {layer}'s {site}: {type(module).__name__} with {type(getattr(module, 'quant_method', None)).__name__}"
        for site, layer, module in layers
        if type(module).__name__ != "RowParallelLinear"
        or type(module.quant_method).__name__ != "UnquantizedLinearMethod"
        or getattr(module, "use_intel_amx_backend", False)
    ]
    if odd:
        problems.append(
            f"{len(odd)} layers have no plain weight that can be cut (quantized, adapted or packed weights have "
            f"none), the first of them: {odd[0]}"
        )
    return problems


def _parts(weight: Tensor, ranks: int, width: int) -> list[SimpleNamespace]:
    # Contiguous copies, as each rank has: a kernel may take others in another way.
    wide = torch.nn.functional.pad(weight.detach(), (0, width - weight.shape[1]))
    return [
        SimpleNamespace(weight=torch.nn.Parameter(part.contiguous(), requires_grad=False))
        for part in wide.chunk(ranks, dim=1)
    ]


def _up(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple
