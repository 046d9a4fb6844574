import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.judge.pairing import pair
from harness.records.samples import Sample, read_samples, sample_file, write_samples
from tests.support import failed, make_choice, make_sample


def test_all_pairs_by_document() -> None:
    ours = [make_sample(2), make_sample(0), make_sample(1)]
    theirs = [make_sample(1, right=False), make_sample(2), make_sample(0)]
    pairing = pair(ours, theirs)
    assert [(of.baseline.doc_id, of.compressed.doc_id) for of in pairing.pairs] == [(0, 0), (1, 1), (2, 2)]
    assert pairing.pairs[1].compressed.right is False
    assert pairing.failed == ()
    assert pairing.faults == ()


def test_nothing_pairs_with_nothing() -> None:
    pairing = pair([], [])
    assert (pairing.pairs, pairing.failed, pairing.faults) == ((), (), ())


def test_a_failed_request_is_no_wrong_answer() -> None:
    ours = [make_sample(0), failed(make_sample(1)), failed(make_sample(2))]
    theirs = [failed(make_sample(0)), make_sample(1), failed(make_sample(2))]
    pairing = pair(ours, theirs)
    assert pairing.pairs == ()
    assert [of.doc_id for of in pairing.failed] == [0, 1, 2, 2]
    assert pairing.faults == ()


def test_another_prompt_is_no_pair() -> None:
    pairing = pair([make_sample(0), make_sample(1)], [make_sample(0), make_sample(1, prompt_hash="other")])
    assert [of.baseline.doc_id for of in pairing.pairs] == [0]
    assert pairing.faults == ("the prompt of document 1 differs between the arms",)


def test_the_prompt_of_a_failed_request_may_be_unknown() -> None:
    pairing = pair([failed(make_sample(0, prompt_hash=""))], [make_sample(0)])
    assert pairing.faults == ()
    assert len(pairing.failed) == 1


@pytest.mark.parametrize("changed", [{"doc_hash": "other"}, {"target": "7"}])
def test_another_document_is_a_fault(changed: dict[str, Any]) -> None:
    pairing = pair([make_sample(0)], [make_sample(0, **changed)])
    assert pairing.faults == ("document 0 differs between the arms",)


def test_questions_in_one_arm_only() -> None:
    pairing = pair([make_sample(of) for of in range(4)], [make_sample(of) for of in (0, 2, 5)])
    assert [of.baseline.doc_id for of in pairing.pairs] == [0, 2]
    assert pairing.faults == ("3 questions are in one arm only, the first is document 1",)


def test_the_same_document_of_another_task_or_filter_is_another_question() -> None:
    pairing = pair([make_sample(0)], [make_sample(0, filter="strict"), make_choice(0)])
    assert pairing.pairs == ()
    assert pairing.faults == ("3 questions are in one arm only, the first is document 0",)


def test_questions_that_stand_twice() -> None:
    pairing = pair([make_sample(0)] * 3, [make_sample(0)] * 2)
    assert pairing.faults == (
        "2 questions stand twice in the baseline arm",
        "1 questions stand twice in the compressed arm",
    )


def test_all_faults_at_once() -> None:
    ours = [make_sample(0), make_sample(1), make_sample(2), make_sample(2)]
    theirs = [make_sample(0, doc_hash="x"), make_sample(1, prompt_hash="x"), make_sample(2), make_sample(3)]
    assert len(pair(ours, theirs).faults) == 4


def test_the_file_is_named_after_the_task(tmp_path: Path) -> None:
    assert sample_file(tmp_path, "boolq") == tmp_path / "samples-boolq.jsonl"


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@settings(deadline=None)
@given(st.lists(st.tuples(texts, texts, st.floats(allow_nan=False, allow_infinity=False)), max_size=4))
def test_whatever_is_generated_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, float]]
) -> None:
    file = tmp_path_factory.getbasetemp() / "samples.jsonl"
    samples = [
        make_sample(index, text=text, answer=answer, logprobs=[value, -1.5])
        for index, (text, answer, value) in enumerate(rows)
    ]
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
    with pytest.raises(HarnessError, match=r"samples.jsonl:2: is not a sample"):
        read_samples(file)


def test_types_are_not_guessed_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "samples.jsonl"
    file.write_text(json.dumps({**make_sample().model_dump(), "right": "true"}) + "\n")
    with pytest.raises(HarnessError, match="right"):
        read_samples(file)
