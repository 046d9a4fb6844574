"""The plugin's capture of one prefill in a real gloo group, read by the numerical suite's own reader."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, distributed

from harness.collective.activations import load_activations
from harness.sglang_plugin.capture import TOKENS, Capture
from suites.ranks.pool import Pool

WIDTH = 16


def message(rank: int, layer: int, site: str, tokens: int) -> Tensor:
    generator = torch.Generator().manual_seed(1000 * rank + 10 * layer + len(site))
    return torch.randn(tokens, WIDTH, generator=generator).bfloat16()


def serve(rank: int, group: distributed.ProcessGroup, file: str | None, passes: list[int]) -> None:
    capture = Capture(Path(file) if file else None)
    coordinator = SimpleNamespace(device_group=group)
    for tokens in passes:
        with capture.forward(tokens):
            for layer in range(2):
                for site in ("attention", "ffn"):
                    capture.message(site, layer, coordinator, message(rank, layer, site, tokens))


def test_the_first_long_prefill_is_kept_by_layer_site_and_rank(tmp_path: Path) -> None:
    file = tmp_path / "activations.pt"
    with Pool([2]) as pool:
        pool.run(2, serve, str(file), [5, TOKENS + 1, TOKENS + 2])
    captured = load_activations(file)
    assert [(entry.layer, entry.site) for entry in captured] == [
        (0, "attention"),
        (0, "ffn"),
        (1, "attention"),
        (1, "ffn"),
    ]
    for entry in captured:
        assert entry.values.dtype == torch.bfloat16
        want = [message(rank, entry.layer, entry.site, TOKENS + 1) for rank in range(2)]
        assert torch.equal(entry.values, torch.stack(want))
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize("passes", [[], [5, TOKENS - 1]])
def test_short_prefills_are_passed_over(tmp_path: Path, passes: list[int]) -> None:
    with Pool([2]) as pool:
        pool.run(2, serve, str(tmp_path / "activations.pt"), passes)
        pool.run(2, serve, None, [TOKENS])
    assert list(tmp_path.iterdir()) == []
