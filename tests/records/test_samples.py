import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.records.run_folder import ArmFolder
from harness.records.samples import Sample, read_samples, write_samples
from tests.answers import failed, make_choice, make_sample


def test_the_file_is_named_after_the_task(tmp_path: Path) -> None:
    assert ArmFolder(tmp_path).samples("boolq") == tmp_path / "samples-boolq.jsonl"


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@settings(deadline=None)
@given(st.lists(st.tuples(texts, texts, st.floats(allow_nan=False, allow_infinity=False)), max_size=4))
def test_whatever_is_generated_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, float]]
) -> None:
    file = tmp_path_factory.getbasetemp() / "samples.jsonl"
    samples = [
        make_sample(
            index,
            text=text,
            answer=answer,
            choices=["a", "b"],
            logprobs=[value, -1.5],
            right=answer == "b",
            target="b",
        )
        for index, (text, answer, value) in enumerate(rows)
    ]
    file.unlink(missing_ok=True)
    write_samples(file, samples)
    assert read_samples(file) == samples
    assert file.read_bytes().count(b"\n") == len(rows)


@pytest.mark.parametrize(
    "character", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r", "\n", "\0", "é", "😀"]
)
def test_characters_that_some_take_for_line_ends(tmp_path: Path, character: str) -> None:
    sample = make_sample(text=f"one{character}two")
    write_samples(tmp_path / "samples.jsonl", [sample, sample])
    assert read_samples(tmp_path / "samples.jsonl") == [sample, sample]


@pytest.mark.parametrize("sample", [make_choice(), failed(make_sample()), failed(make_choice())])
def test_every_kind_is_read_back(tmp_path: Path, sample: Sample) -> None:
    write_samples(tmp_path / "samples.jsonl", [sample])
    assert read_samples(tmp_path / "samples.jsonl") == [sample]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"nowhere.jsonl cannot be read: No such file .*was not finished"):
        read_samples(tmp_path / "nowhere.jsonl")


@pytest.mark.parametrize("line", ['{"task": "gsm8k"', "{}", "", '{"task": "gsm8k", "colour": "red"}'])
def test_a_line_that_is_no_sample_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "samples.jsonl"
    good = make_sample().model_dump_json()
    file.write_text(f"{good}\n{line}\n{good}\n")
    with pytest.raises(HarnessError, match=r"samples.jsonl:2: is not a sample"):
        read_samples(file)


def test_a_file_that_was_cut_off_within_a_character(tmp_path: Path) -> None:
    file = tmp_path / "samples.jsonl"
    write_samples(file, [make_sample(0), make_sample(1, text="\u20ac")])
    file.write_bytes(file.read_bytes().split(b"\xac")[0])
    assert read_samples(file) == [make_sample(0)]


def test_a_last_line_that_was_cut_off_is_none(tmp_path: Path) -> None:
    file = tmp_path / "samples.jsonl"
    write_samples(file, [make_sample(0), make_sample(1)])
    whole = file.read_text()
    for cut in range(len(whole) // 2 + 1, len(whole) - 1, 50):
        file.write_text(whole[:cut])
        assert read_samples(file) == [make_sample(0)]
    # Only the line's end is missing.
    file.write_text(whole[:-1])
    assert read_samples(file) == [make_sample(0), make_sample(1)]


def test_types_are_not_guessed_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "samples.jsonl"
    file.write_text(json.dumps({**make_sample().model_dump(), "right": "true"}) + "\n")
    with pytest.raises(HarnessError, match="right"):
        read_samples(file)


def test_of_two_choices_that_read_alike_one_is_right() -> None:
    """By lm-eval, which goes by a choice's number; data of hubs have such questions."""
    choices, logprobs = ["yes", "yes", "no"], [-1.0, -2.0, -3.0]
    sample = make_choice(target="yes", answer="yes", choices=choices, logprobs=logprobs, right=False)
    assert sample.right is False


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"logprobs": [-1.0]}, "2 choices have 1 log-probabilities"),
        ({"logprobs": [-1.0, float("nan")]}, "finite"),
        ({"right": False}, "the answer 'yes', with 'yes' right, is said to be False"),
    ],
)
def test_a_choice_that_contradicts_itself_is_no_sample(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make_choice(target="yes", answer="yes", choices=["no", "yes"], **changed)
