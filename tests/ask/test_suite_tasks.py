from pathlib import Path

import pytest
from datasets import Dataset

from harness.ask.lm_eval_task import LmEvalTask, check_tasks
from harness.config.load import load, suite_names
from harness.config.thresholds import Threshold
from harness.errors import HarnessError
from harness.places import TASKS
from harness.plan.order import asking_order
from harness.plan.plan import TaskPlan
from suites.tasks import gsm8k_sglang
from tests.support import GSM8K_ROWS as ROWS
from tests.support import PASSAGES, write_rows


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("The answer is 5", "5"),
        ("5 apples, 6 pears, 7 in all.", "7"),
        ("#### 5.", "5"),
        ("5.0", "5"),
        ("5.50", "5.5"),
        ("$1,234,567 is the price", "1234567"),
        ("1,234.50", "1234.5"),
        ("-3", "-3"),
        ("10 - 3 = 7, not -7", "-7"),
        ("between 3-5", "-5"),
        ("-0", "0"),
        ("-0.0", "0"),
        ("1e3", "3"),
        ("12%", "12"),
        ("3.14.15", "15"),
        ("0", "0"),
        ("00", "0"),
        ("000.5", "0.5"),
        (".5", "5"),
        ("1/2", "2"),
        ("123456789012345", "123456789012345"),
        # Not Python literals, so SGLang takes them for none even where an earlier number is one.
        ("5 then 007", None),
        ("-012", None),
        ("", None),
        ("no number", None),
        ("minus, - and .", None),
        ("five", None),
        ("9" * 5000, None),
        ("9" * 400, None),
    ],
)
def test_the_last_number_of_a_text(text: str, number: str | None) -> None:
    (found,) = gsm8k_sglang.last_number([[text]], None)
    assert found == [gsm8k_sglang.INVALID if number is None else number]
    assert (gsm8k_sglang.value(text) is None) is (number is None)


@pytest.mark.parametrize("written", ["5", "5.", "5.0", "5.00", " 5,", "$5"])
def test_forms_of_the_same_number_are_the_same_answer(written: str) -> None:
    (found,) = gsm8k_sglang.last_number([[f"So: {written}"]], None)
    assert gsm8k_sglang.process_results({"answer": "Five.\n#### 5"}, found) == {"exact_match": 1.0}
    assert gsm8k_sglang.process_results({"answer": "#### 50"}, found) == {"exact_match": 0.0}


@pytest.mark.parametrize("target", ["#### 1,000", "#### 1000", "#### 1000.0"])
def test_targets_with_separators(target: str) -> None:
    assert gsm8k_sglang.process_results({"answer": target}, ["1000"]) == {"exact_match": 1.0}


def test_no_answer_is_never_right() -> None:
    for target in ("#### 5", "no number at all"):
        assert gsm8k_sglang.process_results({"answer": target}, [gsm8k_sglang.INVALID]) == {"exact_match": 0.0}


def test_every_response_of_every_document_is_filtered() -> None:
    assert gsm8k_sglang.last_number([["a 1", "b 2"], ["none"]], None) == [["1", "2"], [gsm8k_sglang.INVALID]]


def test_shots_and_scored_rows_share_nothing_and_lose_nothing() -> None:
    docs = Dataset.from_list(ROWS)
    shots, scored = gsm8k_sglang.shots(docs), gsm8k_sglang.without_shots(docs)
    assert shots.to_list() + scored.to_list() == ROWS
    assert len(shots) == gsm8k_sglang.SHOTS == 5


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_rows(folder / "gsm8k" / "test.jsonl", ROWS)
    write_rows(folder / "gsm8k" / "train.jsonl", [{**row, "question": f"Train: {row['question']}"} for row in ROWS])
    write_rows(folder / "boolq" / "validation.jsonl", PASSAGES)
    return folder


def load_task(
    name: str, data: Path, *, questions: int = 3, metric: str = "acc,none", cap: int | None = None
) -> LmEvalTask:
    task = TaskPlan(
        file=str(TASKS / f"{name}.yaml"),
        questions=questions,
        concurrency=1,
        max_new_tokens=cap,
        threshold=Threshold(metric=metric, report_only=True, source="here"),
    )
    return LmEvalTask(name, task, data)


def test_gsm8k_prompts_are_upstreams_to_the_letter(data: Path) -> None:
    task = load_task("gsm8k", data, questions=4)
    shots = "".join(f"Question: {row['question']}\nAnswer: {row['answer']}\n\n" for row in ROWS[:5])
    # The shots are upstream's; the scored rows come in the one order of asking.
    asked = [ROWS[5:9][row] for row in asking_order(4)]
    assert task.contents() == [f"{shots}Question: {row['question']}\nAnswer:" for row in asked]


def test_gsm8k_protocol_is_upstreams(data: Path) -> None:
    protocol = load_task("gsm8k", data).protocol()
    assert protocol["stop"] == ["Question", "Assistant:", "<|separator|>"]
    assert protocol["max_new_tokens"] == 512
    assert protocol["temperature"] == 0.0
    assert protocol["fewshot"] == {"count": 5, "rows": "first_n of test", "seed": protocol["fewshot"]["seed"]}
    assert protocol["metrics"] == ["exact_match,last-number"]
    assert protocol["bos"] == "what the tokenizer adds"


def test_the_suites_cap_goes_before_the_tasks_own(data: Path) -> None:
    assert load_task("gsm8k", data, cap=64).protocol()["max_new_tokens"] == 64


def test_lm_evals_gsm8k_draws_its_shots_from_train_and_always_the_same(data: Path) -> None:
    first, again = (load_task("gsm8k_lm_eval", data, questions=9).contents() for _ in range(2))
    assert first == again
    assert len(first) == len(ROWS)
    asked = [ROWS[row] for row in asking_order(len(ROWS))]
    for row, prompt in zip(asked, first, strict=True):
        *shots, question = prompt.split("\n\n")
        assert question == f"Question: {row['question']}\nAnswer:"
        assert len(shots) == len(set(shots)) == 5
        assert all(shot.startswith("Question: Train: ") and "####" in shot for shot in shots)


def test_lm_evals_gsm8k_has_its_two_filters(data: Path) -> None:
    task = load_task("gsm8k_lm_eval", data)
    assert task.metric_and_filter == ["exact_match,strict-match", "exact_match,flexible-extract"]
    assert task.protocol()["max_new_tokens"] == 256


def test_boolq_prompts(data: Path) -> None:
    task = load_task("boolq", data, questions=4)
    assert task.contents()[asking_order(4).index(1)] == "It is 1.\nQuestion: is it 1?\nAnswer:"
    assert len(task.contents()) == 4
    assert task.metric_and_filter == ["acc,none"]
    protocol = task.protocol()
    assert protocol["output_type"] == "multiple_choice"
    assert (protocol["order"].split("; ")[0], protocol["cluster"]) == (
        "rows by the SHA-256 of seed and number, seed 0",
        "passage",
    )
    assert protocol["fewshot"]["count"] == 0
    assert (protocol["stop"], protocol["max_new_tokens"]) == (None, None)


@pytest.mark.parametrize("suite", suite_names())
def test_thresholds_name_metrics_that_their_tasks_have(suite: str, data: Path) -> None:
    content, thresholds = load(suite)
    rows = thresholds.models[content.model.name].tasks
    check_tasks([load_task(name, data, metric=rows[name].metric) for name in content.tasks])


def test_all_wrong_metrics_are_named_at_once(data: Path) -> None:
    tasks = [
        load_task("boolq", data, metric="acc"),
        load_task("gsm8k", data, metric="exact_match,last-number"),
        load_task("gsm8k_lm_eval", data, metric="exact_match,last-number"),
    ]
    with pytest.raises(HarnessError) as caught:
        check_tasks(tasks)
    first, second = str(caught.value).splitlines()
    assert first == "thresholds.yaml: boolq: metric 'acc' is none of the task's: acc,none"
    assert "gsm8k_lm_eval: metric 'exact_match,last-number' is none of the task's" in second
    assert second.endswith("exact_match,strict-match; exact_match,flexible-extract")


@pytest.mark.parametrize(("name", "available"), [("gsm8k", 4), ("gsm8k_lm_eval", 9), ("boolq", 4)])
def test_more_questions_than_there_are(name: str, available: int, data: Path) -> None:
    assert len(load_task(name, data, questions=available).contents()) == available
    with pytest.raises(HarnessError, match=rf"{name}: {available + 1} questions .* has {available} to score"):
        load_task(name, data, questions=available + 1)


@pytest.mark.parametrize("name", ["gsm8k", "gsm8k_lm_eval", "boolq"])
def test_missing_files_of_the_data_are_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=rf"{name}: the data lacks {tmp_path}/"):
        load_task(name, tmp_path)


def test_fewer_rows_than_shots(tmp_path: Path) -> None:
    write_rows(tmp_path / "gsm8k" / "test.jsonl", ROWS[:3])
    with pytest.raises(HarnessError, match="3 rows are too few: the first 5 are examples, those after them are"):
        load_task("gsm8k", tmp_path)


def test_rows_without_the_tasks_columns(tmp_path: Path) -> None:
    write_rows(tmp_path / "boolq" / "validation.jsonl", [{"frage": "x"}])
    with pytest.raises(HarnessError, match="boolq"):
        load_task("boolq", tmp_path, questions=1).contents()


@pytest.mark.parametrize("suite", suite_names())
def test_every_thresholds_protocol_is_its_suites(suite: str, data: Path) -> None:
    content, thresholds = load(suite)
    rows = thresholds.models[content.model.name].tasks
    tasks = [load_task(name, data, metric=rows[name].metric) for name in content.tasks]
    for task in tasks:
        assert rows[task.name].protocol in (None, task.protocol_text())
        assert rows[task.name].protocol is not None or rows[task.name].report_only
