"""Tasks of lm-eval's and of one's own, from local files: loaded, looked at, worded, measured, asked."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.ask.chat import Renderings
from harness.ask.lm_eval_task import LmEvalTask, check_tasks
from harness.ask.predictions import FixedTexts
from harness.ask.prompts import check_lengths, word_chats
from harness.config.task_file import find_task
from harness.config.thresholds import Threshold
from harness.errors import ConfigError, HarnessError
from harness.plan.order import asking_order
from harness.plan.plan import Chat, FidelityPlan, Plan, TaskPlan
from harness.records.run_folder import ArmFolder
from harness.records.samples import read_samples
from harness.serve.server import running
from tests.support import OWN_TASK, start_of, write_interpreter, write_rows

MakePlan = Callable[..., Plan]
# A right answer that is the longest choice: by its sum it loses, for each character it wins.
ARC = [
    {
        "id": f"Mercury_{number}",
        "question": f"Which is number {number}?",
        "choices": {"text": ["a", "b b b b b b b b"], "label": ["A", "B"]},
        "answerKey": "AB"[number % 2],
    }
    for number in range(6)
]


def task_plan(name: str, file: Path | None = None, **changed: Any) -> TaskPlan:
    usual: dict[str, Any] = {
        "file": str(find_task(name, file).path),
        "questions": 4,
        "concurrency": 2,
        "max_new_tokens": None,
        "threshold": Threshold(metric="acc,none", report_only=True, source="here"),
    }
    return TaskPlan(**{**usual, **changed})


def arc(data: Path, **changed: Any) -> LmEvalTask:
    files = {"test": "arc/test.jsonl"}
    return LmEvalTask("arc_easy", task_plan("arc_easy", data_files=files, **changed), data)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_rows(tmp_path / "data" / "arc" / "test.jsonl", ARC)
    return tmp_path / "data"


def test_a_task_of_lm_evals_from_a_file_in_its_own_columns(data: Path) -> None:
    task = arc(data)
    order = asking_order(len(ARC))[:4]
    assert task.contents() == [f"Question: Which is number {number}?\nAnswer:" for number in order]
    assert [task.number(document) for document in range(4)] == [number + 1 for number in order]
    assert task.metric_and_filter == ["acc,none", "acc_norm,none"]
    assert task.protocol_text() == "arc_easy.yaml version 1.0; multiple_choice; 0 shots; BOS: what the tokenizer adds"
    check_tasks([task])


def test_each_question_with_its_right_answer_is_a_text(fake_plan: MakePlan, data: Path, tmp_path: Path) -> None:
    order = asking_order(len(ARC))[:4]
    right = [["a", "b b b b b b b b"][number % 2] for number in order]
    expected = [
        f"Question: Which is number {number}?\nAnswer: {answer}" for number, answer in zip(order, right, strict=True)
    ]
    assert list(arc(data).solved()) == expected
    # Of a generated answer the whole gold solution.
    plan = fake_plan()
    gsm8k = LmEvalTask("gsm8k", plan.tasks["gsm8k"], Path(plan.data))
    assert [text.startswith("Question: What is ") and "####" in text for text in gsm8k.solved()] == [True] * 6
    texts = FidelityPlan(texts={"arc_easy": 3}, of_tasks=["arc_easy"], max_tokens=9, concurrency=1, threshold=None)
    fixed = FixedTexts(texts, tmp_path, [arc(data), gsm8k])
    assert fixed.contents() == expected[:3]
    assert fixed.protocol()["from"] == (
        "the first of each; arc_easy: question and right answer, as the task words them"
    )


def test_acc_norm_judges_by_length_and_acc_by_the_sum(
    fake_plan: MakePlan, data: Path, tmp_path: Path, no_strays: None
) -> None:
    del no_strays
    plan = fake_plan()
    answers = {}
    for metric in ("acc,none", "acc_norm,none"):
        task = arc(data, threshold=Threshold(metric=metric, report_only=True, source="here"))
        folder = ArmFolder(Path(tempfile.mkdtemp(dir=tmp_path)))
        with running(plan.arm("baseline"), start_of(plan), folder.log, lambda _text: None) as server:
            task.ask(server.client, range(4), folder=folder, after_failure=server.check_alive, advance=lambda: None)
        samples = read_samples(folder.samples("arc_easy"))
        targets = [["a", "b b b b b b b b"][number % 2] for number in asking_order(len(ARC))[:4]]
        assert [sample.target for sample in samples] == targets
        for sample in samples:
            assert sample.logprobs is not None
            lengths = [1, 15] if metric == "acc_norm,none" else [1, 1]
            norms = [logprob / length for logprob, length in zip(sample.logprobs, lengths, strict=True)]
            assert sample.answer == ["a", "b b b b b b b b"][norms.index(max(norms))]
            assert sample.right == (sample.answer == sample.target)
        answers[metric] = samples[0].answer
    assert answers == {"acc,none": "a", "acc_norm,none": "b b b b b b b b"}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"question": "", "choices": ["a", "b"], "answer": 0}, "question 2: is empty"),
        ({"question": "q", "choices": ["a"], "answer": 0}, "question 2: has no two choices"),
        ({"question": "q", "choices": ["a", " "], "answer": 0}, "question 2: has no two choices, or an empty one"),
        ({"question": "q", "choices": ["a", "b"], "answer": 2}, "question 2: has an answer that is none of its 2"),
    ],
)
def test_questions_that_cannot_be_asked_are_named(tmp_path: Path, row: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        mine(tmp_path, [{"question": "q", "choices": ["a", "b"], "answer": 1}, row])


def test_ten_questions_of_a_kind_and_then_a_count(tmp_path: Path) -> None:
    bad = [{"question": "q", "choices": ["a", "b"], "answer": 7}] * 14
    with pytest.raises(ConfigError) as caught:
        mine(tmp_path, [{"question": "q", "choices": ["a", "b"], "answer": 1}, *bad])
    lines = str(caught.value).splitlines()
    assert len(lines) == 11
    assert lines[-1].startswith("mine: and 4 more lines like these: has an answer that is none of its")


def mine(folder: Path, rows: list[dict[str, Any]], **changed: Any) -> LmEvalTask:
    """Load a task of one's own."""
    (folder / "mine.yaml").write_text(yaml.safe_dump(OWN_TASK))
    write_rows(folder / "mine.jsonl", rows)
    plan = task_plan("mine", folder / "mine.yaml", questions=len(rows), **changed)
    return LmEvalTask("mine", plan, folder)


GOOD = [{"question": f"is it {number}", "choices": ["a", "b"], "answer": number % 2} for number in range(3)]


@pytest.mark.parametrize("text", ["", "\n", '{"question": "q"', '["q"]\n'])
def test_short_and_broken_files_end_in_words(tmp_path: Path, text: str) -> None:
    mine(tmp_path, GOOD)
    (tmp_path / "mine.jsonl").write_text(text)
    with pytest.raises(
        HarnessError, match=r"lm-eval cannot load the task: (\w+: \S|without a word .* is a file)|mine: "
    ):
        LmEvalTask("mine", task_plan("mine", tmp_path / "mine.yaml"), tmp_path)


def test_examples_of_a_split_without_a_file_are_refused(tmp_path: Path) -> None:
    write_rows(tmp_path / "gsm8k" / "test.jsonl", [{"question": "q", "answer": "#### 1"}])
    plan = task_plan("gsm8k_lm_eval", data_files={"test": "gsm8k/test.jsonl"})
    with pytest.raises(HarnessError, match="shows 5 examples of the split train: data_files has to name a file"):
        LmEvalTask("gsm8k_lm_eval", plan, tmp_path)


def tokenizer_plan(plan: Plan, folder: Path, script: str, *more: str) -> Plan:
    """Return the plan with a stand-in for the interpreter that has the tokenizer."""
    arm = plan.arms[0].model_copy(update={"argv": [*plan.arms[0].argv, *more]})
    python = write_interpreter(folder / "bin", script)
    return plan.model_copy(update={"server_python": str(python), "arms": [arm, *plan.arms[1:]]})


def test_a_question_that_is_too_long_is_named_with_its_tokens_before_any_server(
    fake_plan: MakePlan, tmp_path: Path
) -> None:
    long = {"question": "word " * 1_000_000, "choices": ["a", "b"], "answer": 0}
    task = mine(tmp_path, [GOOD[0], long, GOOD[1]])
    answer = json.dumps({"context": 2048, "tokens": [1_000_001], "rendered": [], "problem": ""})
    plan = tokenizer_plan(fake_plan(), tmp_path, f"cat > {tmp_path}/request; echo '{answer}'")
    with pytest.raises(ConfigError) as caught:
        check_lengths(plan, [task])
    assert str(caught.value).startswith(
        "mine: question 2: is too long: 1000001 tokens and up to 1 after them, the con"
    )
    # The long one alone was counted: a token has a byte or more.
    assert len(json.loads((tmp_path / "request").read_text())["texts"]) == 1


def test_the_servers_cache_is_a_limit_too(fake_plan: MakePlan, tmp_path: Path) -> None:
    task = mine(tmp_path, [{"question": "word " * 300, "choices": ["a", "b"], "answer": 0}])
    answer = json.dumps({"context": 9000, "tokens": [301], "rendered": [], "problem": ""})
    tight = tokenizer_plan(fake_plan(), tmp_path, f"echo '{answer}'", "--max-total-tokens", "300")
    with pytest.raises(ConfigError, match=r"the cache \(--max-total-tokens\) is of 300"):
        check_lengths(tight, [task])
    check_lengths(tokenizer_plan(fake_plan(), tmp_path, f"echo '{answer}'", "--max-total-tokens=400"), [task])


def test_short_prompts_ask_no_tokenizer(fake_plan: MakePlan, tmp_path: Path) -> None:
    check_lengths(tokenizer_plan(fake_plan(), tmp_path, "exit 9"), [mine(tmp_path, GOOD)])


def test_prompts_are_worded_by_the_chat_template_and_the_protocol_says_so(
    fake_plan: MakePlan, tmp_path: Path
) -> None:
    task = mine(tmp_path, GOOD, chat=Chat(system="Be brief.", thinking=False))
    rendered = [f"<user>{number}<model>" for number in range(3)]
    answer = json.dumps({"context": 1, "tokens": [], "rendered": rendered, "problem": ""})
    word_chats(tokenizer_plan(fake_plan(), tmp_path, f"cat > {tmp_path}/request; echo '{answer}'"), [task])
    assert task.contents() == rendered
    assert not task.special_tokens
    chats = json.loads((tmp_path / "request").read_text())["chats"]
    asked = f"is it {asking_order(len(GOOD))[1]}"
    assert chats[1] == {
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": asked}],
        "generate": True,
        "options": {"enable_thinking": False},
    }
    assert task.protocol()["chat_template"] == "the model's own"
    assert task.protocol_text().endswith('; chat template, system "Be brief.", thinking off')


def test_a_model_without_a_chat_template_is_refused(fake_plan: MakePlan, tmp_path: Path) -> None:
    task = mine(tmp_path, GOOD, chat=Chat(system=None, thinking=None))
    answer = json.dumps({"context": 1, "tokens": [], "rendered": [], "problem": "the tokenizer of M has none"})
    with pytest.raises(HarnessError, match="apply_chat_template: there is no chat template: the tokenizer of M has"):
        word_chats(tokenizer_plan(fake_plan(), tmp_path, f"echo '{answer}'"), [task])


def test_a_conversation_that_was_not_worded_is_no_empty_prompt() -> None:
    chat = Renderings(Chat(system=None, thinking=None))
    assert chat([{"role": "user", "content": "known"}]) == ""
    chat.fill(["KNOWN"])
    assert chat([{"role": "user", "content": "known"}]) == "KNOWN"
    with pytest.raises(HarnessError, match="no text was made of the conversation"):
        chat([{"role": "user", "content": "unknown"}])
