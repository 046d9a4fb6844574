"""What a policy says of each sum, how it is read, and how it comes into force."""

from pathlib import Path
from typing import Any

import pytest

from harness.sglang_plugin.policy import Choice, Policy, PolicyError, parse, uniform
from harness.sglang_plugin.study_folder import PolicyFile, TextsFile, write_policy, write_texts

MIXED: dict[str, Any] = {
    "number": 3,
    "name": "a mix",
    "rules": [
        {"codec": "int8_hadamard", "algorithm": "two_shot"},
        {"codec": "int4_group32", "algorithm": "one_shot", "site": "attention"},
        {"codec": "plain", "site": "ffn", "layers": [2, 11]},
        {"codec": "my.kernels:sum", "algorithm": "one_shot", "claims": "int8_token", "site": "ffn", "layers": [2]},
    ],
    "predictions": "compare",
}


def nothing_wrong(_policy: Policy) -> list[str]:
    return []


@pytest.mark.parametrize(
    ("site", "layer", "choice"),
    [
        ("ffn", 0, Choice(codec="int8_hadamard", algorithm="two_shot")),
        ("attention", 2, Choice(codec="int4_group32")),
        ("ffn", 11, None),
        ("ffn", 2, Choice(codec="my.kernels:sum", claims="int8_token")),
    ],
)
def test_the_last_rule_that_holds_wins(site: str, layer: int, choice: Choice | None) -> None:
    assert parse(MIXED).choice(site, layer) == choice


def test_where_no_rule_holds_a_sum_is_plain() -> None:
    policy = parse({"rules": [{"codec": "int8_token", "site": "ffn", "layers": [11]}]})
    assert policy.choice("ffn", 10) is None
    assert policy.choice("attention", 11) is None
    assert policy.choice("ffn", 11) == Choice(codec="int8_token", algorithm="one_shot")


def test_what_is_written_is_what_is_read() -> None:
    assert parse(parse(MIXED).content()) == parse(MIXED)
    assert parse(MIXED).content() == MIXED
    assert uniform(None).content() == {"number": 0, "name": "", "rules": [{"codec": "plain"}]}
    # A claim is an implementation's own; its codec is the claimed one to everybody who counts or checks.
    assert [choice.claimed for choice in parse(MIXED).choices()] == ["int8_hadamard", "int4_group32", "int8_token"]


@pytest.mark.parametrize(
    ("rows", "label"),
    [
        ({"crest": [96.0, 100.0]}, "int8_token one_shot, crest percentiles 96 to 100"),
        ({"position": [8.0, None]}, "int8_token one_shot, positions from 8"),
    ],
)
def test_some_rows_alone(rows: dict[str, list[float | None]], label: str) -> None:
    content = {"rules": [{"codec": "int8_token", "algorithm": "one_shot", "rows": rows}]}
    policy = parse(content)
    assert parse(policy.content()) == policy
    assert policy.content()["rules"] == content["rules"]
    choice = policy.choice("ffn", 0)
    assert choice is not None
    assert choice.label == label


@pytest.mark.parametrize(
    "rows",
    [
        "first",
        {},
        {"crest": [0, 50], "position": [0, 1]},
        {"colour": [0, 1]},
        {"crest": [50, 101]},
        {"crest": [50, 50]},
        {"position": [-1, 2]},
        {"position": [0, "end"]},
        {"position": [0, 1, 2]},
        {"position": [None, 2]},
    ],
)
def test_rows_that_are_none_are_refused(rows: object) -> None:
    with pytest.raises(PolicyError, match=r"policy.rules\[0\].rows: "):
        parse({"rules": [{"codec": "int8_token", "rows": rows}]})


def test_all_that_is_wrong_is_said_at_once_and_where() -> None:
    wrong = {
        "number": -1,
        "predictions": "both",
        "colour": 1,
        "rules": [
            {"codec": "int8_token", "algorithm": "ring", "site": "mlp", "layers": [], "layer": 3},
            {"codec": "plain", "algorithm": "one_shot"},
            {"codec": "my.kernels:sum"},
            {"codec": "int8_token", "claims": "int8_token", "layers": [True]},
            {},
            "int8_token",
        ],
    }
    with pytest.raises(PolicyError) as caught:
        parse(wrong)
    said = [problem.split(":")[0] for problem in caught.value.problems]
    assert sorted(said) == sorted(
        [
            "policy.colour",
            "policy.number",
            "policy.predictions",
            "policy.rules[0].layer",
            "policy.rules[0].algorithm",
            "policy.rules[0].site",
            "policy.rules[0].layers",
            "policy.rules[1].algorithm",
            "policy.rules[2].claims",
            "policy.rules[3].claims",
            "policy.rules[3].layers",
            "policy.rules[4].codec",
            "policy.rules[5]",
        ]
    )


@pytest.mark.parametrize("content", [[], None, {"number": 1}, {"rules": {}}])
def test_something_else_is_no_policy(content: object) -> None:
    with pytest.raises(PolicyError, match="rules"):
        parse(content)


def test_a_policy_comes_into_force_when_its_file_is_another(tmp_path: Path) -> None:
    first = uniform(Choice(codec="int8_token"))
    file = PolicyFile(tmp_path, first, nothing_wrong)
    assert not file.refresh()
    assert file.policy == first
    for number in (1, 2):
        # Two files of the same size and, on a coarse clock, of the same time.
        write_policy(tmp_path, uniform(None, number=number))
        assert file.refresh()
        assert not file.refresh()
        assert file.policy.number == number


def test_a_policy_that_cannot_be_carried_out_is_an_error_and_not_the_one_before(tmp_path: Path) -> None:
    def only_plain(policy: Policy) -> list[str]:
        return [f"no {choice.label}" for choice in policy.choices()]

    file = PolicyFile(tmp_path, uniform(None), only_plain)
    write_policy(tmp_path, uniform(Choice(codec="int8_token"), number=7, name="coarse"))
    with pytest.raises(PolicyError, match=r"policy 7 \(coarse\): no int8_token one_shot"):
        file.refresh()
    (tmp_path / "policy.json").write_text('{"rules": 3}')
    with pytest.raises(PolicyError, match=r"policy\.json: policy\.rules: 3 is no list"):
        file.refresh()
    (tmp_path / "policy.json").write_text("{")
    with pytest.raises(PolicyError, match=r"policy\.json: "):
        file.refresh()


def test_texts_are_token_ids(tmp_path: Path) -> None:
    file = TextsFile(tmp_path)
    assert not file.refresh()
    write_texts(tmp_path, [[1, 2], (3,)])
    assert file.refresh()
    assert file.texts == [(1, 2), (3,)]
    assert not file.refresh()
    (tmp_path / "texts.json").write_text('["one"]')
    for _ in range(2):
        with pytest.raises(ValueError, match="token ids"):
            file.refresh()
