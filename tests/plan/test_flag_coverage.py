"""What each release compresses, by model class, and the words for a flag that does nothing."""

import json
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.plan.flag_coverage import BOTH, COVERAGE, coverage, explain, model_class, problems
from harness.plan.preflight import check_plan
from tests.support import make, write_interpreter, write_model


def says(folder: Path, release: str) -> None:
    answer = {
        "sglang": release,
        "problems": [],
        "settings": [],
        "spelled": {},
        "packages": "",
        "every_package": {},
        "plugin": "",
    }
    write_interpreter(folder / "bin", f"echo '{json.dumps(answer)}'")


@pytest.mark.parametrize(
    ("release", "named", "sites"),
    [
        ("0.5.11", "LlamaForCausalLM", ()),
        ("0.5.13.post1", "LlamaForCausalLM", ()),
        ("0.5.21", "Qwen2ForCausalLM", ()),
        ("0.5.22", "LlamaForCausalLM", BOTH),
        ("0.5.23", "LlamaForCausalLM", BOTH),
        ("0.5.11", "Qwen3ForCausalLM", BOTH),
        ("0.5.23", "Qwen3MoeForCausalLM", ("attention",)),
    ],
)
def test_a_release_has_what_it_last_changed_to(release: str, named: str, sites: tuple[str, ...]) -> None:
    known = coverage(release, named)
    assert known is not None
    assert known.sites == sites


@pytest.mark.parametrize(
    ("release", "named"),
    [
        ("0.5.10", "LlamaForCausalLM"),
        ("0.5.24", "LlamaForCausalLM"),
        ("fake", "LlamaForCausalLM"),
        ("0.5.23", "Mine"),
    ],
)
def test_of_what_nobody_looked_at_nothing_is_said(release: str, named: str) -> None:
    assert coverage(release, named) is None
    assert problems(release, named, BOTH) == []


def test_a_class_that_is_not_compressed_everywhere_says_why() -> None:
    assert all(since.why or set(since.sites) == set(BOTH) for history in COVERAGE.values() for since in history)


def test_a_flag_that_does_nothing_is_refused_before_a_server_starts(tmp_path: Path) -> None:
    says(tmp_path, "0.5.16")
    with pytest.raises(HarnessError) as caught:
        check_plan(make(tmp_path))
    assert str(caught.value) == (
        "SGLang 0.5.16 compresses nothing in LlamaForCausalLM: neither its attention nor its MLP is told the forward "
        "batch. It takes the flag and does nothing; from 0.5.22 on it compresses attention and ffn"
    )


def test_a_calibration_needs_no_flag(tmp_path: Path) -> None:
    says(tmp_path, "0.5.16")
    assert check_plan(make(tmp_path, baselines=1)).version == "0.5.16"


def test_a_site_that_is_left_out_is_named_with_what_to_do(tmp_path: Path) -> None:
    [said] = problems("0.5.16", "Qwen3MoeForCausalLM", BOTH)
    assert said.startswith(
        "SGLang 0.5.16 compresses attention in Qwen3MoeForCausalLM: the sum of the experts' outputs"
    )
    assert "say compression.sites: [attention]" in said
    assert said.endswith("no release up to 0.5.23 compresses more of it")
    assert problems("0.5.16", "Qwen3MoeForCausalLM", ("attention",)) == []
    assert model_class(str(write_model(tmp_path / "model"))) == "LlamaForCausalLM"
    assert model_class("org/model") == ""


def test_after_the_proof_it_is_said_of_classes_that_nobody_knew() -> None:
    assert explain("0.5.16", "LlamaForCausalLM").startswith("SGLang 0.5.16 compresses nothing in LlamaForCausalLM: ")
    assert explain("0.6.0", "Mine").startswith("SGLang 0.6.0 took the flag for Mine and compressed nothing: ")
