from typing import Any

import pytest

from harness.judge.pairing import pair
from tests.answers import failed, make_choice, make_sample


def test_all_pairs_by_document() -> None:
    ours = [make_sample(2), make_sample(0), make_sample(1)]
    theirs = [make_sample(1, right=False), make_sample(2), make_sample(0)]
    pairing = pair(ours, theirs)
    assert [(pair_.baseline.doc_id, pair_.compressed.doc_id) for pair_ in pairing.pairs] == [(0, 0), (1, 1), (2, 2)]
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
    assert [entry.doc_id for entry in pairing.failed] == [0, 1, 2, 2]
    assert pairing.faults == ()


def test_another_prompt_is_no_pair() -> None:
    pairing = pair([make_sample(0), make_sample(1)], [make_sample(0), make_sample(1, prompt_hash="other")])
    assert [pair_.baseline.doc_id for pair_ in pairing.pairs] == [0]
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
    pairing = pair([make_sample(number) for number in range(4)], [make_sample(entry) for entry in (0, 2, 5)])
    assert [pair_.baseline.doc_id for pair_ in pairing.pairs] == [0, 2]
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
