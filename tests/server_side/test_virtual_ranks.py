"""Layers cut into virtual ranks, against real ranks in gloo groups and against SGLang's own rules of padding."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from sglang.srt.configs import update_config
from sglang.srt.layers.quantization.unquant import UnquantizedLinearMethod
from torch import Tensor, distributed, nn

from harness.collective import quant_all_reduce
from harness.sglang_plugin.codecs import simulation
from harness.sglang_plugin.plain_sum import plain_sum
from harness.sglang_plugin.policy import Choice
from harness.sglang_plugin.virtual_ranks import CannotCutError, Shape, cut, padded
from suites.ranks.pool import Pool

LAYERS, HEADS, KV_HEADS, HEAD, FFN, TOKENS = 2, 9, 3, 8, 96, 7
HIDDEN = HEADS * HEAD
COARSE = Choice(codec="int8_token", algorithm="two_shot")


class RowParallelLinear(nn.Module):
    """SGLang's layer without its process-wide context: the same names, and SGLang's own product."""

    def __init__(self, columns: int, seed: int, dtype: torch.dtype, *, skip_bias_add: bool = False) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(HIDDEN, columns, generator=generator).to(dtype)
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = nn.Parameter(torch.randn(HIDDEN, generator=generator).to(dtype), requires_grad=False)
        self.quant_method = UnquantizedLinearMethod()
        self.skip_bias_add = skip_bias_add


def model(dtype: torch.dtype, **options: bool) -> nn.Module:
    """A model's decoder layers, as SGLang's models name them."""
    layers = []
    for layer in range(LAYERS):
        attention, mlp = nn.Module(), nn.Module()
        attention.o_proj = RowParallelLinear(HIDDEN, layer, dtype, **options)
        mlp.down_proj = RowParallelLinear(FFN, 10 + layer, dtype, **options)
        layers.append(nn.ModuleDict({"self_attn": attention, "mlp": mlp}))
    return nn.ModuleDict({"model": nn.ModuleDict({"layers": nn.ModuleList(layers)})})


def runner(layers: nn.Module, *, device: str = "cpu", **args: int) -> SimpleNamespace:
    config = SimpleNamespace(
        num_hidden_layers=LAYERS, num_attention_heads=HEADS, get_total_num_kv_heads=lambda: KV_HEADS
    )
    return SimpleNamespace(
        model=layers,
        model_config=config,
        device=device,
        server_args=SimpleNamespace(**{"tp_size": 1, "pp_size": 1, "dp_size": 1, **args}),
    )


def sites(layers: nn.Module) -> dict[tuple[str, int], Any]:
    found = {}
    for name, module in layers.named_modules():
        if isinstance(module, RowParallelLinear):
            found["attention" if name.endswith("o_proj") else "ffn", int(name.split(".")[2])] = module
    return found


def given(site: str, layer: int, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(100 + layer)
    return torch.randn(TOKENS, HIDDEN if site == "attention" else FFN, generator=generator).to(dtype)


def real_rank(
    rank: int, group: distributed.ProcessGroup, dtype: torch.dtype, choice: Choice | None
) -> list[list[float]]:
    """What one of N real ranks computes at each site: it has the columns that SGLang would give it."""
    ranks = distributed.get_world_size(group)
    sums = []
    for (site, layer), module in sites(model(dtype)).items():
        # At 2 ranks 12 heads of which 3 are padding, at 3 ranks 9; FFN columns in multiples of 32 a rank.
        width = {2: 48, 3: 24}[ranks] if site == "attention" else {2: 64, 3: 32}[ranks]
        x, weight = (
            entry[:, rank * width : (rank + 1) * width] for entry in (given(site, layer, dtype), module.weight)
        )
        product = torch.nn.functional.linear(x.contiguous(), weight.contiguous(), None if rank else module.bias)
        if choice is None:
            distributed.all_reduce(product, group=group)
        else:
            product = quant_all_reduce(product, group, codec=choice.codec, algorithm=choice.algorithm)
        sums.append(product.flatten().tolist())
    return sums


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool([2, 3, 4]) as pool:
        yield pool


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("choice", [None, COARSE])
def test_the_sums_are_those_of_real_ranks(pool: Pool, ranks: int, choice: Choice | None, dtype: torch.dtype) -> None:
    real = pool.run(ranks, real_rank, dtype, choice)
    layers = model(dtype)
    asked = []

    def total(site: str, layer: int, parts: Tensor) -> Tensor:
        assert (parts.shape, parts.dtype) == ((ranks, TOKENS, HIDDEN), dtype)
        asked.append((site, layer))
        return plain_sum(parts) if choice is None else simulation(choice)(parts)

    cut(runner(layers), ranks, total)
    for (site, layer), module, want in zip(sites(layers), sites(layers).values(), real[0], strict=True):
        served, bias = module.forward(given(site, layer, dtype), skip_all_reduce=True)
        assert bias is None
        assert served.flatten().tolist() == want
    assert asked == list(sites(layers))


def ring(rank: int, group: distributed.ProcessGroup, rows: int, width: int, dtype: torch.dtype) -> list[list[float]]:
    ranks = distributed.get_world_size(group)
    parts = [
        torch.randn(rows, width, generator=torch.Generator().manual_seed(rank)).to(dtype) for rank in range(ranks)
    ]
    summed = parts[rank].clone()
    distributed.all_reduce(summed, group=group)
    return [summed.flatten().tolist(), plain_sum(torch.stack(parts)).flatten().tolist()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("rows", "width"), [(1, 1), (1, 17), (128, 576), (3001, 577)])
@pytest.mark.parametrize("ranks", [3, 4])
def test_a_plain_sum_has_the_bits_of_gloos(pool: Pool, ranks: int, rows: int, width: int, dtype: torch.dtype) -> None:
    for summed, ours in pool.run(ranks, ring, rows, width, dtype):
        assert summed == ours


def test_a_bias_that_the_caller_adds_is_left_to_it() -> None:
    layers = model(torch.float32, skip_bias_add=True)
    cut(runner(layers), 2, lambda _site, _layer, parts: plain_sum(parts))
    for (site, layer), module in sites(layers).items():
        x = given(site, layer, torch.float32)
        served, bias = module.forward(x)
        assert bias is module.bias
        assert torch.allclose(served, x @ module.weight.T, atol=1e-4)


@pytest.mark.parametrize("ranks", [2, 3, 4, 5, 8, 16])
@pytest.mark.parametrize(("heads", "kv_heads", "intermediate"), [(9, 3, 1536), (32, 8, 11008), (32, 32, 11000)])
def test_on_a_cpu_padding_is_sglangs(
    monkeypatch: pytest.MonkeyPatch, ranks: int, heads: int, kv_heads: int, intermediate: int
) -> None:
    monkeypatch.setattr(update_config, "may_get_weight_block_size", lambda *_: None)
    hf = SimpleNamespace(model_type="llama", intermediate_size=intermediate, hidden_size=heads * 64)
    theirs = SimpleNamespace(
        hf_config=hf,
        hf_text_config=hf,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        hidden_size=heads * 64,
        quantization=None,
        get_total_num_kv_heads=lambda: kv_heads,
    )
    update_config.adjust_config_with_unaligned_cpu_tp(theirs, SimpleNamespace(), ranks)
    ours = padded(Shape(heads=heads, kv_heads=kv_heads, intermediate=intermediate), ranks, on_cpu=True)
    assert (ours.heads, ours.kv_heads) == (theirs.num_attention_heads, theirs.num_key_value_heads)
    assert ours.intermediate == hf.intermediate_size


def test_elsewhere_nothing_is_padded_and_what_sglang_would_not_serve_is_refused() -> None:
    shape = Shape(heads=32, kv_heads=8, intermediate=11008)
    for ranks in (2, 4, 8, 16):
        assert padded(shape, ranks, on_cpu=False) == shape
    with pytest.raises(CannotCutError, match=r"parallelism of 12 here: 32 .* 8 key-value heads .* 11008 columns"):
        padded(shape, 12, on_cpu=False)


def test_what_cannot_be_cut_is_refused_with_all_reasons() -> None:
    layers = model(torch.float32)
    ffn = sites(layers)["ffn", 1]
    ffn.quant_method = SimpleNamespace()
    with pytest.raises(CannotCutError) as caught:
        cut(runner(layers, tp_size=2), 2, lambda _site, _layer, parts: plain_sum(parts))
    assert "tp_size=2, not 1" in str(caught.value)
    assert "layer 1's ffn: RowParallelLinear with SimpleNamespace" in str(caught.value)
    without: Any = model(torch.float32)
    del without.model.layers[1].mlp.down_proj
    with pytest.raises(CannotCutError, match="2 layers and a `down_proj` in 1 places"):
        cut(runner(without), 2, lambda _site, _layer, parts: plain_sum(parts))
    with pytest.raises(CannotCutError, match="9 attention heads are not divisible"):
        cut(runner(model(torch.float32), device="cuda"), 2, lambda _site, _layer, parts: plain_sum(parts))
