"""When a task may end early, on samples whose verdict is plain to see."""

import pytest

from harness.config.thresholds import Threshold
from harness.judge.early_stop import certain, design_of, parts
from harness.plan.plan import TaskPlan
from harness.records.samples import Sample
from harness.stats import ALPHA
from tests.answers import failed, make_sample


def task(questions: int = 400, *, early_stop: bool = True, **threshold: float | str) -> TaskPlan:
    keys = {"max_drop": 0.05, **threshold}
    return TaskPlan(
        file="gsm8k.yaml",
        questions=questions,
        concurrency=1,
        max_new_tokens=None,
        early_stop=early_stop,
        threshold=Threshold(metric="exact_match,last-number", source="test", **keys),  # type: ignore[arg-type]
    )


def answers(n: int, *, wrong: int = 0, **changed: str) -> list[Sample]:
    return [make_sample(number, right=number >= wrong, **changed) for number in range(n)]


def first_end(of: TaskPlan, *, wrong: int = 0, share: float = 0.0, fail_alpha: float = ALPHA) -> int | None:
    """Return the look at which the task ends early; `share` of the questions asked are wrong in one arm."""
    for part in parts(of, fail_alpha)[:-1]:
        n = part.stop
        if certain(of, answers(of.questions), answers(n, wrong=max(wrong, round(share * n))), fail_alpha):
            return n
    return None


def test_a_task_that_may_not_end_early_is_one_part() -> None:
    assert parts(task(early_stop=False), ALPHA) == [range(400)]
    assert design_of(task(early_stop=False), ALPHA) is None
    assert not certain(task(early_stop=False), answers(400), answers(400, wrong=300), ALPHA)


@pytest.mark.parametrize("questions", [1, 2, 16, 128, 1319, 3270])
def test_the_parts_cover_every_question_once(questions: int) -> None:
    covered = [document for part in parts(task(questions), ALPHA) for document in part]
    assert covered == list(range(questions))
    assert all(parts(task(questions), ALPHA))


def test_a_clear_pass_and_a_clear_fail_end_long_before_the_last_question() -> None:
    passed, fails = first_end(task(1200)), first_end(task(1200), share=0.3)
    assert passed is not None
    assert fails is not None
    assert passed <= 400
    assert fails <= 400


@pytest.mark.parametrize(
    ("fewest", "looks"),
    [
        (1, (25, 50, 75, 100, 134, 200, 400)),
        (64, (64, 75, 100, 134, 200, 400)),
        (200, (200, 400)),
        (400, (400,)),
        (9999, (400,)),
    ],
)
def test_no_task_ends_before_it_has_the_questions_that_its_threshold_asks_for(
    fewest: int, looks: tuple[int, ...]
) -> None:
    of = task(400, min_questions=fewest, max_drop=0.1)
    design = design_of(of, ALPHA)
    assert design is not None
    assert design.looks == looks
    end = first_end(of, share=1.0)
    assert end == (looks[0] if len(looks) > 1 else None)


def test_an_undecided_task_goes_on() -> None:
    assert first_end(task(), share=0.05) is None


def test_a_floor_must_be_certain_too() -> None:
    # 90 % of 400 can only be certain once 360 are right; that it is missed, once 41 are wrong.
    early = first_end(task(), wrong=0)
    assert early is not None
    late = first_end(task(floor=0.9))
    assert late is None or late >= 360
    assert first_end(task(floor=0.9, max_drop=0.5), share=0.45) is not None


def test_a_confident_floor_and_flips_wait_for_the_end_unless_something_fails() -> None:
    assert first_end(task(floor=0.5, floor_rule="confident")) is None
    assert first_end(task(max_flips=0.5)) is None
    assert first_end(task(max_truncated=0.5)) is None
    assert first_end(task(floor=0.5, floor_questions=50)) is None
    assert first_end(task(1200, max_flips=0.5), share=0.3) is not None


def test_what_cannot_be_judged_is_asked_to_its_end() -> None:
    look = parts(task(), ALPHA)[-2].stop
    assert certain(task(), answers(400), answers(look), ALPHA)
    broken = [failed(answer) if answer.doc_id == 3 else answer for answer in answers(look)]
    assert not certain(task(), answers(400), broken, ALPHA)
    other_prompts = answers(look, prompt_hash="another")
    assert not certain(task(), answers(400), other_prompts, ALPHA)


def test_another_filters_samples_do_not_count() -> None:
    look = parts(task(), ALPHA)[-2].stop
    strict = [make_sample(number, right=False, filter="strict") for number in range(look)]
    assert certain(task(), answers(400), [*answers(look), *strict], ALPHA)


def test_a_smaller_part_of_the_budget_makes_a_fail_harder_and_a_pass_no_harder() -> None:
    part = ALPHA / 10
    assert first_end(task(1200)) == first_end(task(1200), fail_alpha=part)
    shares = [share / 100 for share in range(6, 30)]
    ends = [
        (first_end(task(1200), share=entry), first_end(task(1200), share=entry, fail_alpha=part)) for entry in shares
    ]
    assert all(other is None or (first is not None and first <= other) for first, other in ends)
    assert any(first != other for first, other in ends)


def test_a_baseline_that_is_not_yet_shown_to_be_above_chance_goes_on() -> None:
    of = task(400, max_drop=0.5)
    look = parts(of, ALPHA)[0].stop
    # All of 25 are right in both arms: surely above 80 % (8 looks share the error), and the margin is half.
    assert certain(of, answers(look), answers(look), ALPHA)
    wrong = answers(look, wrong=9)
    assert not certain(of, wrong, wrong, ALPHA)
