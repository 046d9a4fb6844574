"""lm-eval itself against the fake server: what happens to requests that fail, and to a server that dies."""

import json
import tempfile
from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path
from typing import Any, cast

import pytest

from harness.ask.lm_eval_task import LmEvalTask
from harness.errors import HarnessError
from harness.plan.order import asking_order
from harness.plan.plan import Plan
from harness.records.run_folder import ArmFolder
from harness.records.samples import Sample, read_samples
from harness.serve.answers import Scores
from harness.serve.client import Client
from harness.serve.server import ServerDiedError, running
from tests.support import start_of

pytestmark = pytest.mark.usefixtures("no_strays")
MakePlan = Callable[..., Plan]


def ask(plan: Plan, name: str, tmp_path: Path, parts: Sequence[range] = (range(6),)) -> list[Sample]:
    """Ask a fake server a task of six questions, and read the samples that are then on disk."""
    task = LmEvalTask(name, plan.tasks[name], Path(plan.data))
    folder = ArmFolder(Path(tempfile.mkdtemp(dir=tmp_path)))
    with running(plan.arm("baseline"), start_of(plan), folder.log, lambda _text: None) as server:
        for part in parts:
            task.ask(server.client, part, folder=folder, after_failure=server.check_alive, advance=lambda: None)
    return read_samples(folder.samples(name))


def outcomes(tmp_path: Path) -> list[dict[str, Any]]:
    (file,) = tmp_path.glob("*/requests.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_scored_choices_become_samples(fake_plan: MakePlan, tmp_path: Path) -> None:
    samples = ask(fake_plan(), "boolq", tmp_path)
    assert [sample.doc_id for sample in samples] == list(range(6))
    # Of the rows of the data the first of the one order; even numbers are a yes.
    assert [sample.row for sample in samples] == asking_order(60)[:6]
    assert [sample.target for sample in samples] == ["no" if sample.row % 2 else "yes" for sample in samples]
    assert [sample.answer for sample in samples] == [sample.target for sample in samples]
    assert {sample.right for sample in samples} == {True}
    # Each has a passage of its own.
    assert len({sample.cluster for sample in samples} - {None}) == 6
    assert samples[0].choices == ["no", "yes"]
    assert samples[0].logprobs is not None
    assert (samples[0].logprobs[0] < samples[0].logprobs[1]) is (samples[0].answer == "yes")


def test_samples_of_every_filter_go_by_the_metric_that_is_judged(fake_plan: MakePlan, tmp_path: Path) -> None:
    """A run may be judged again by another filter of its task, which has no other measure of what is right."""
    plan = fake_plan()
    task = LmEvalTask("boolq", plan.tasks["boolq"], Path(plan.data))
    inner: Any = task._task
    other = copy(inner._filters[0])
    other.name = "other"
    inner._filters.append(other)
    inner.config.metric_list.append({"metric": "acc_norm"})
    own = inner.process_results
    inner.process_results = lambda document, results: {**own(document, results), "acc_norm": 0.5}
    folder = ArmFolder(tmp_path / "arm")
    folder.path.mkdir()
    with running(plan.arm("baseline"), start_of(plan), folder.log, lambda _text: None) as server:
        task.ask(server.client, range(6), folder=folder, after_failure=server.check_alive, advance=lambda: None)
    samples = read_samples(folder.samples("boolq"))
    assert {(sample.filter, sample.right) for sample in samples} == {("none", True), ("other", True)}


def test_generated_answers_become_samples(fake_plan: MakePlan, tmp_path: Path) -> None:
    samples = ask(fake_plan(), "gsm8k", tmp_path)
    # The first five rows are the shots, so that the scored ones ask for 6, 7, 8 ...; the server always says 7.
    assert [sample.row for sample in samples] == asking_order(9)[:6]
    assert [sample.right for sample in samples] == [sample.row == 1 for sample in samples]
    assert {sample.cluster for sample in samples} == {None}
    assert {(sample.answer, sample.text, sample.finish_reason) for sample in samples} == {("7", " 7", "length")}


@pytest.mark.parametrize("name", ["boolq", "gsm8k"])
def test_a_failed_request_is_no_wrong_answer(fake_plan: MakePlan, tmp_path: Path, name: str) -> None:
    samples = ask(fake_plan("fails-some"), name, tmp_path)
    failed = [sample for sample in samples if sample.error is not None]
    # The right answer is the same whether or not there is an answer: the arms are paired by it.
    assert [sample.target for sample in samples] == [sample.target for sample in ask(fake_plan(), name, tmp_path)]
    assert 0 < len(failed) < len(samples) or name == "boolq"
    assert failed
    for sample in failed:
        assert sample.right is None
        assert sample.answer is None
        assert sample.error is not None
        assert "HTTP 500" in sample.error
        assert "out of luck" in sample.error


def test_a_part_of_the_questions_keeps_the_numbers_of_the_whole(fake_plan: MakePlan, tmp_path: Path) -> None:
    samples = ask(fake_plan(), "gsm8k", tmp_path, (range(2), range(2, 6)))
    # The second row scored, and it alone, asks for what the server always says.
    order = asking_order(9)
    assert [(sample.doc_id, sample.row) for sample in samples] == [(number, order[number]) for number in range(6)]
    assert [sample.right for sample in samples] == [sample.row == 1 for sample in samples]
    assert len({sample.prompt_hash for sample in samples}) == 6
    assert sorted(outcome["doc_id"] for outcome in outcomes(tmp_path)) == list(range(6))


class Recorded:
    """A client that notes what it is asked, and whether anything is under way then."""

    def __init__(self) -> None:
        self.under_way = False
        self.tokenized: list[tuple[bool, list[str]]] = []

    def tokenize_many(self, texts: Sequence[str], **_how: object) -> list[list[int]]:
        self.tokenized.append((self.under_way, list(texts)))
        # A choice is one token, the text before it its letters.
        words = (text.rpartition("Answer:") for text in texts)
        return [[*map(ord, before), 1, *([2 + len(choice)] if choice else [])] for before, _, choice in words]

    def score_many(self, questions: Sequence[Any], *, meanwhile: Callable[[], None]) -> list[Scores]:
        self.under_way = True
        meanwhile()
        self.under_way = False
        return [Scores(logprobs=(-1.0, -2.0), greedy=(True, False), tokens=(1, 1)) for _ in questions]


def test_a_batchs_tokens_are_made_as_the_server_is_at_work_on_the_one_before(
    fake_plan: MakePlan, tmp_path: Path
) -> None:
    plan = fake_plan()
    task = LmEvalTask("boolq", plan.tasks["boolq"], Path(plan.data))
    prompts = task.contents()
    one, other = Recorded(), Recorded()
    # Parts as a run asks them, one of them smaller than a batch; then the other arm.
    for client, parts in ((one, (range(2), range(2, 3), range(3, 6))), (other, (range(2),))):
        folder = ArmFolder(Path(tempfile.mkdtemp(dir=tmp_path)))
        for part in parts:
            task.ask(cast("Client", client), part, folder=folder, after_failure=lambda: None, advance=lambda: None)
        samples = read_samples(folder.samples("boolq"))
        assert [sample.doc_id for sample in samples] == list(range(parts[-1].stop))
        assert [sample.prompt_tokens for sample in samples] == [
            len(prompt) - len("Answer:") + 1 for prompt in prompts[: parts[-1].stop]
        ]
    texts = [[prompt, f"{prompt} no", f"{prompt} yes"] for prompt in prompts]
    asked = [(under_way, each[::3]) for under_way, each in one.tokenized if each]
    # The third part's second batch is prepared by its first.
    assert asked == [(False, prompts[:2]), (True, prompts[2:4]), (True, prompts[4:5]), (True, prompts[5:6])]
    assert [text for _, each in one.tokenized for text in each] == [text for own in texts for text in own]
    assert [each[::3] for _, each in other.tokenized] == [prompts[:2], prompts[2:4]]


def test_the_protocol_in_one_line(fake_plan: MakePlan) -> None:
    plan = fake_plan()
    tasks = {name: LmEvalTask(name, plan.tasks[name], Path(plan.data)) for name in plan.tasks}
    assert tasks["gsm8k"].protocol_text() == (
        "gsm8k.yaml version 1.0; generate_until; 5 shots (first_n of test); BOS: what the tokenizer adds; "
        'at most 8 tokens, stop ["Question", "Assistant:", "<|separator|>"]'
    )
    assert tasks["boolq"].protocol_text() == (
        "boolq.yaml version 2.0; multiple_choice; 0 shots; BOS: what the tokenizer adds"
    )


def test_a_server_that_dies_ends_the_task_and_keeps_what_was_answered(fake_plan: MakePlan, tmp_path: Path) -> None:
    with pytest.raises(ServerDiedError, match=r"(?s)exit code 7 during the run.*told to die"):
        ask(fake_plan("dies-in-task"), "gsm8k", tmp_path)
    assert [outcome["text"] for outcome in outcomes(tmp_path) if outcome["error"] is None] == [" 7", " 7"]


def test_more_questions_than_the_data_has_are_refused(fake_plan: MakePlan) -> None:
    plan = fake_plan(questions=500)
    with pytest.raises(
        HarnessError, match=r"boolq: 500 questions are asked for, the data in .* has 60 to score: say `questions: 60`"
    ):
        LmEvalTask("boolq", plan.tasks["boolq"], Path(plan.data))


def test_missing_data_is_named(fake_plan: MakePlan) -> None:
    plan = fake_plan()
    (Path(plan.data) / "gsm8k" / "test.jsonl").unlink()
    with pytest.raises(HarnessError, match=r"gsm8k: the data lacks .*gsm8k/test\.jsonl"):
        LmEvalTask("gsm8k", plan.tasks["gsm8k"], Path(plan.data))
