"""Captured activations: what is read, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch

from harness.collective.activations import Activation, load_activations, save_activations
from suites.numerics.cases.case import Case


def entry(**changes: Any) -> dict[str, Any]:
    return {"layer": 0, "site": "ffn", "values": torch.ones(2, 3, 4), **changes}


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    values = torch.randn(2, 3, 8).bfloat16()
    saved = [
        Activation(layer=0, site="attention", values=values),
        Activation(layer=1, site="ffn", values=values.transpose(1, 2)),
    ]
    save_activations(tmp_path / "real.pt", saved)
    loaded = load_activations(tmp_path / "real.pt")
    assert [(one.layer, one.site) for one in loaded] == [(0, "attention"), (1, "ffn")]
    assert all(torch.equal(one.values, other.values) for one, other in zip(loaded, saved, strict=True))
    assert loaded[0].values.dtype == torch.bfloat16


def test_saving_again_replaces_the_file(tmp_path: Path) -> None:
    file = tmp_path / "real.pt"
    for layer in (3, 4):
        save_activations(file, [Activation(layer=layer, site="ffn", values=torch.ones(2, 1, 4))])
    assert [one["layer"] for one in torch.load(file, weights_only=True)] == [4]
    assert [path.name for path in tmp_path.iterdir()] == ["real.pt"]


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.pt"):
        load_activations(tmp_path / "missing.pt")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "that isn't empty"),
        ({"layer": 0}, "expected a list"),
        ([entry(), {"layer": 0}], r"entry 1: expected a dict of layer, site and values"),
        ([entry(site="mlp")], r"entry 0: site is 'mlp', expected one of attention, ffn"),
        ([entry(values=torch.ones(3, 4))], r"must be a floating-point tensor \[ranks, tokens, hidden\]"),
        ([entry(values=torch.ones(2, 3, 4, dtype=torch.int8))], "must be a floating-point tensor"),
    ],
)
def test_another_content_is_refused_by_name(tmp_path: Path, content: object, words: str) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=words) as raised:
        load_activations(tmp_path / "other.pt")
    assert "other.pt" in str(raised.value)


def test_a_case_takes_an_entry_and_no_other_shape(tmp_path: Path) -> None:
    file = tmp_path / "real.pt"
    save_activations(file, [Activation(layer=2, site="ffn", values=torch.arange(24.0).view(2, 3, 4))])
    case = Case(ranks=2, shape=(3, 4), dtype="fp32", data=f"activations:{file}:0")
    assert torch.equal(Case.parse(str(case)).inputs(), torch.arange(24.0).view(2, 3, 4))
    with pytest.raises(ValueError, match=r"holds \(2, 3, 4\) at 0, the case says \(2, 4, 4\)"):
        Case(ranks=2, shape=(4, 4), dtype="fp32", data=f"activations:{file}:0").inputs()
