"""Which policies can be carried out where, and how an implementation under test joins virtual ranks."""

from pathlib import Path

import pytest
import torch

from harness.collective import simulate_all_reduce
from harness.sglang_plugin.codecs import candidate_problems, codec_problems, policy_problems, simulation
from harness.sglang_plugin.policy import Choice, Policy, Rule, parse

OWN = """
import torch


def first_rank(inputs):
    return inputs[0].clone()


def real(x, group):
    raise AssertionError("virtual ranks have no group")


real.simulate = lambda inputs: inputs.sum(dim=0) * 2
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_codec.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    return "own_codec"


def test_a_codec_of_ours_is_simulated_with_its_algorithm() -> None:
    inputs = torch.randn(3, 5, 64, generator=torch.Generator().manual_seed(0))
    found = simulation(Choice(codec="int4_group32", algorithm="two_shot"))(inputs)
    assert torch.equal(found, simulate_all_reduce(inputs, codec="int4_group32", algorithm="two_shot"))


def test_an_implementation_under_test_is_its_own_simulation_or_carries_one(own: str) -> None:
    inputs = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(simulation(Choice(codec=f"{own}:first_rank", claims="none"))(inputs), inputs[0])
    assert torch.equal(simulation(Choice(codec=f"{own}:real", claims="none"))(inputs), inputs.sum(dim=0) * 2)


def test_what_does_not_exist_is_said_of_each_codec_once() -> None:
    rules = [
        {"codec": "int9_token"},
        {"codec": "int9_token", "site": "ffn"},
        {"codec": "no.such:thing", "claims": "int8_token"},
        {"codec": "plain", "layers": [3]},
    ]
    first, second = policy_problems(parse({"rules": rules}))
    assert first.startswith("the codec 'int9_token' cannot be used: no codec is named 'int9_token'")
    assert second.startswith("the codec 'no.such:thing' cannot be used: No module named 'no'")
    assert codec_problems("int8_token", None) == []


def test_what_virtual_ranks_cannot_measure_is_known_before_they_start() -> None:
    assert candidate_problems([("int8_token", "two_shot", 16), ("int8_token_columns9", "one_shot", 3)]) == []
    assert candidate_problems([("quickreduce_int8", "own", 8)]) == []
    found = candidate_problems(
        [
            ("quickreduce_int8", "own", 16),
            ("int9_token", "one_shot", 2),
            ("tests.broken_codecs.plain:all_reduce", "own", 2),
        ]
    )
    assert [problem.split(" cannot be measured: ")[0] for problem in found] == [
        "quickreduce_int8 own at 16 ranks",
        "int9_token one_shot at 2 ranks",
        "tests.broken_codecs.plain:all_reduce own at 2 ranks",
    ]
    assert "works over 2, 4, 8 ranks, not 16" in found[0]
    assert "has no wire_bytes" in found[2]


def test_on_an_npu_there_is_sglangs_own_code_and_plain() -> None:
    native, other = Choice(codec="upstream_bf16"), Choice(codec="int8_hadamard")
    mixed = Policy(rules=(Rule(choice=native), Rule(choice=None, site="ffn", layers=(11,))))
    assert policy_problems(mixed, on_npu=True) == []
    (problem,) = policy_problems(Policy(rules=(Rule(choice=native), Rule(choice=other))), on_npu=True)
    assert problem.startswith("int8_hadamard one_shot: on an NPU SGLang's own code compresses")
