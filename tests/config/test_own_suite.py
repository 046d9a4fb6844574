"""A suite outside the repository: its places, its thresholds, its tasks, and what is refused before any server."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.config.load import default_thresholds, load, suite_label
from harness.config.new_suite import write_new_suite
from harness.config.task_file import TaskRefused, find_task
from harness.errors import ConfigError, HarnessError
from harness.places import THRESHOLDS
from harness.prepare.needed import needed_files
from tests.support import OWN_TASK, write_model, write_rows

ROW = {"metric": "acc,none", "max_drop": 0.1, "source": "here"}


class Own:
    """A folder outside the repository with a suite, thresholds and a task."""

    def __init__(self, folder: Path) -> None:
        self.suite = folder / "own.yaml"
        self.content: dict[str, Any] = {
            "description": "mine",
            "device": "cpu",
            "model": {"name": "M", "path": "model"},
            "server": {"tp": 2, "args": []},
            "known_answer": {"prompt": "p", "right": "r", "wrong": "w"},
            "data": "folder",
            "data_folder": "data",
            "tasks": {"mine": {"questions": 4, "file": "mine.yaml"}},
        }
        self.rows: dict[str, Any] = {"mine": ROW}
        self.write(folder / "mine.yaml", OWN_TASK)
        write_model(folder / "model")

    @staticmethod
    def write(file: Path, content: dict[str, Any]) -> None:
        file.write_text(yaml.safe_dump(content, sort_keys=False))

    def load(self, thresholds: Path | None = None) -> Any:
        self.write(self.suite, self.content)
        self.write(thresholds or self.suite.parent / "thresholds.yaml", {"models": {"M": self.rows}})
        return load(str(self.suite), thresholds=thresholds)

    def problems(self) -> str:
        with pytest.raises(ConfigError) as caught:
            self.load()
        return str(caught.value)


@pytest.fixture
def own(tmp_path: Path) -> Own:
    return Own(tmp_path)


@pytest.mark.parametrize(
    ("tasks", "says"),
    [
        ({"mine": 5}, "has 5 texts of the task mine in `fidelity.tasks`, which asks 4 questions"),
        ({"other": 1}, "which is none of the suite's: mine"),
    ],
)
def test_texts_of_a_task_are_of_its_questions(own: Own, tasks: dict[str, int], says: str) -> None:
    own.content["fidelity"] = {"tasks": tasks}
    assert says in own.problems()


def test_what_a_suite_names_relatively_is_beside_it(own: Own, tmp_path: Path) -> None:
    (tmp_path / "sum.py").write_text("")
    own.content["compression"] = {"codec": "sum.py:f", "claims": "int8_token"}
    suite, thresholds = own.load()
    assert suite.model.path == str(tmp_path / "model")
    assert suite.data_folder == str(tmp_path / "data")
    assert suite.tasks["mine"].file == str(tmp_path / "mine.yaml")
    assert suite.compression.codec == f"{tmp_path}/sum.py:f"
    assert thresholds.models["M"].tasks["mine"].max_drop == 0.1
    assert suite_label(str(own.suite)) == "own"


def test_thresholds_can_be_named_and_are_otherwise_the_ones_beside(own: Own, tmp_path: Path) -> None:
    own.load(thresholds=tmp_path / "elsewhere.yaml")
    assert default_thresholds(str(own.suite)) == THRESHOLDS
    own.load()
    assert default_thresholds(str(own.suite)) == tmp_path / "thresholds.yaml"
    assert default_thresholds("smollm2-cpu") == THRESHOLDS


def test_a_suite_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=rf"there is no suite {tmp_path}/none.yaml: `nox -s new` writes one"):
        load(str(tmp_path / "none.yaml"))


def test_a_row_for_a_task_that_nobody_knows_is_found_in_own_thresholds_too(own: Own) -> None:
    own.rows["mien"] = ROW
    assert "models.M.mien: is not a task" in own.problems()


@pytest.mark.parametrize(
    ("changed", "row", "says"),
    [
        (
            {"questions": 4},
            {"min_questions": 9},
            "tasks.mine.questions: is 4, and fewer than min_questions (9) decide",
        ),
        ({"early_stop": True}, {"min_questions": 4}, "tasks.mine.early_stop: can never end the task"),
        ({"system": "s"}, {}, "has `system`, which only a chat template knows"),
        ({"data_files": {"test": "../x.jsonl"}}, {}, "give a .jsonl file within the data's folder"),
        ({"file": "none.yaml"}, {}, "tasks.mine: has no readable file"),
    ],
)
def test_what_could_never_be_is_refused(own: Own, changed: dict[str, Any], row: dict[str, Any], says: str) -> None:
    own.content["tasks"]["mine"] |= changed
    own.rows["mine"] = ROW | row
    assert says in own.problems()


def test_an_early_stop_without_a_drop_to_judge_is_refused(own: Own) -> None:
    own.content["tasks"]["mine"]["early_stop"] = True
    own.rows["mine"] = {"metric": "acc,none", "report_only": True, "source": "here"}
    assert (
        "tasks.mine.early_stop: ends a task once its drop is certain, and the row has no max_drop" in own.problems()
    )


@pytest.mark.parametrize(
    ("argument", "says"),
    [("--port 3000", "--port is set by the harness"), ("--dtype float16", "write --dtype=float16, or two items")],
)
def test_two_items_in_one(own: Own, argument: str, says: str) -> None:
    own.content["server"]["args"] = [argument]
    assert f"server.args.0: {says}" in own.problems().replace("is one argument with a space in it: ", "")


def test_a_known_answer_that_is_right_and_wrong(own: Own) -> None:
    own.content["known_answer"] = {"prompt": "p", "right": "r", "wrong": "r"}
    assert "known_answer: has 'r' as `right` and as `wrong`" in own.problems()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"group": "g", "task": ["a"]}, "is a group of tasks"),
        ({"class": "C"}, "is written in Python"),
        ({"task": "yours"}, "is called 'yours' in its file"),
        ({"output_type": "loglikelihood_rolling"}, "scores whole texts"),
        ({"output_type": "loglikelihood"}, "is of the kind loglikelihood"),
        ({"metric_list": [{"metric": "acc_mutual_info"}]}, "normalises by unconditional scores"),
        ({"unsafe_code": True}, "runs code that the model wrote"),
        ({"doc_to_image": "x"}, "shows images or sound"),
        ({"repeats": 3}, "asks each question several times"),
        ({"output_type": "generate_until", "generation_kwargs": {"temperature": 0.7}}, "samples its answers"),
        ({"include": "own_include.yaml"}, "includes itself"),
    ],
)
def test_tasks_that_cannot_be_asked_are_refused_with_the_reason(
    tmp_path: Path, changed: dict[str, Any], says: str
) -> None:
    Own.write(tmp_path / "own_include.yaml", {"include": "own_include.yaml"})
    Own.write(tmp_path / "mine.yaml", OWN_TASK | changed)
    with pytest.raises(TaskRefused, match=says):
        find_task("mine", tmp_path / "mine.yaml")


def test_lm_evals_tasks_by_their_names() -> None:
    arc, hellaswag = find_task("arc_easy"), find_task("hellaswag")
    assert (arc.path.name, arc.splits, arc.data_files) == ("arc_easy.yaml", ["test", "validation", "train"], None)
    assert hellaswag.splits == ["validation", "train"]
    # What it includes is read too.
    assert find_task("ceval-valid_accountant").config["output_type"] == "multiple_choice"
    assert find_task("ceval").data_files == {"val": "ceval/val.jsonl"}
    with pytest.raises(TaskRefused, match="is a group of tasks"):
        find_task("ceval-valid")


def test_a_task_of_lm_evals_from_a_folder_has_to_name_its_file(own: Own) -> None:
    own.content["tasks"] = {"arc_easy": {"questions": 4}}
    own.rows = {"arc_easy": ROW}
    suite, _ = own.load()
    with pytest.raises(
        HarnessError, match=r"data_files: \{test: arc_easy/test.jsonl\}; it reads the splits test, val"
    ):
        needed_files(suite, suite.data)


@pytest.mark.parametrize("device", ["cpu", "cuda", "npu"])
def test_a_new_suite_is_whole_and_loads(tmp_path: Path, device: str) -> None:
    model = write_model(tmp_path / "My Model: 8B")
    suite = write_new_suite(str(model), device, tmp_path / "out")
    assert suite == tmp_path / "out" / "My-Model--8B.yaml"
    content, thresholds = load(str(suite))
    assert (content.device, content.model.path, content.model.name) == (device, str(model), model.name)
    assert thresholds.models[model.name].tasks.keys() == content.tasks.keys() == {"questions"}
    assert needed_files(content, content.data) == ["questions.jsonl"]
    assert content.data_folder == str(tmp_path / "out" / "data")
    with pytest.raises(HarnessError, match=r"cannot be made: .*exists.*--out"):
        write_new_suite(str(model), device, tmp_path / "out")


def test_a_new_suite_for_an_unknown_device(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="--device tpu is none of cpu, cuda, npu"):
        write_new_suite("m", "tpu", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_example_of_a_new_suites_data_is_its_form(tmp_path: Path) -> None:
    write_new_suite("organisation/model", "cpu", tmp_path / "out")
    example = (tmp_path / "out" / "data" / "questions.jsonl.example").read_text().splitlines()
    rows = [yaml.safe_load(line) for line in example]
    write_rows(tmp_path / "copy.jsonl", rows)
    assert all(row["choices"][row["answer"]] for row in rows)
