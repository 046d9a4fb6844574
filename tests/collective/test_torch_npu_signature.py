"""The stand-in for torch_npu against the signatures of its real wheels, which are pinned; not run on hardware."""

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from suites.implementations import standin_npu
from suites.implementations.standin_npu import make_module

PINNED = Path(standin_npu.__file__).with_name("torch_npu.json")
RELEASES = {
    release: entry["npu_dynamic_quant"] for release, entry in json.loads(PINNED.read_text())["releases"].items()
}
# What the operator's words are in Python.
VALUES = {"None": None, "0.0": 0.0, '"pertoken"': "pertoken"}


def signature(schema: str) -> inspect.Signature:
    """Return a schema of torch's as Python's signature, without types."""
    inside = re.fullmatch(r"npu_dynamic_quant\((.*)\) -> \(Tensor, Tensor\)", schema)
    assert inside is not None
    kind: Any = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = []
    for part in inside[1].split(", "):
        if part == "*":
            kind = inspect.Parameter.KEYWORD_ONLY
            continue
        name, _, default = part.split(" ", 1)[1].partition("=")
        given = VALUES[default] if default else inspect.Parameter.empty
        parameters.append(inspect.Parameter(name, kind, default=given))
    return inspect.Signature(parameters)


def stand_in() -> inspect.Signature:
    whole = inspect.signature(make_module("a2").npu_dynamic_quant)
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in whole.parameters.values()]
    return inspect.Signature(bare)


@pytest.mark.parametrize("release", [release for release in RELEASES if not release.startswith("2.8")])
def test_names_order_and_defaults_are_the_wheels(release: str) -> None:
    assert stand_in() == signature(RELEASES[release])


def test_an_older_wheel_has_the_first_of_them_with_the_same_defaults() -> None:
    older = list(signature(RELEASES["2.8.0.post2"]).parameters.values())
    assert older == list(stand_in().parameters.values())[: len(older)]
    assert len(older) == 4


@pytest.mark.parametrize("release", RELEASES)
def test_every_wheel_takes_the_call_that_sglang_makes(release: str) -> None:
    """SGLang 0.5.11 to 0.5.23, quant_all_reduce: npu_dynamic_quant(x, dst_type=torch.int8)."""
    signature(RELEASES[release]).bind(torch.zeros(1, 1), dst_type=torch.int8)
    # And no call that the wheel would refuse.
    with pytest.raises(TypeError):
        signature(RELEASES[release]).bind(torch.zeros(1, 1), torch.int8)


def test_what_was_read_is_named_by_its_wheel_and_hash() -> None:
    releases = json.loads(PINNED.read_text())["releases"]
    assert all(entry["wheel"].startswith(f"torch_npu-{release}-cp311-") for release, entry in releases.items())
    assert all(re.fullmatch("[0-9a-f]{64}", entry["sha256"]) for entry in releases.values())
