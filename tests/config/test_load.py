from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.config.load import load, suite_names
from harness.config.suite import Suite
from harness.config.task_file import task_names
from harness.config.thresholds import FidelityThreshold, Threshold, Thresholds
from harness.errors import ConfigError, HarnessError

SUITE: dict[str, Any] = {
    "description": "one",
    "device": "cpu",
    "model": {"name": "M", "path": "m"},
    "server": {"tp": 2, "args": ["--dtype=float32"]},
    "known_answer": {"prompt": "p", "right": "r", "wrong": "w"},
    "data": "packaged",
    "tasks": {"boolq": {"questions": 4}},
}
THRESHOLDS: dict[str, Any] = {"models": {"M": {"boolq": {"metric": "acc,none", "max_drop": 0.1, "source": "here"}}}}


class Files:
    """A folder of suites and a file of thresholds."""

    def __init__(self, folder: Path) -> None:
        self.suites = folder / "suites"
        self.suites.mkdir()
        self.thresholds = folder / "thresholds.yaml"
        self.write(SUITE, THRESHOLDS)

    def write(self, suite: dict[str, Any], thresholds: dict[str, Any]) -> None:
        (self.suites / "one.yaml").write_text(yaml.safe_dump(suite, sort_keys=False))
        self.thresholds.write_text(yaml.safe_dump(thresholds, sort_keys=False))

    def load(self, name: str = "one") -> tuple[Suite, Thresholds]:
        return load(name, suites=self.suites, thresholds=self.thresholds)

    def problems(self) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            self.load()
        return [
            f"{problem.file.name}:{problem.line}: {problem.key}: {problem.message}"
            for problem in caught.value.problems
        ]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_of_the_project_loads(name: str) -> None:
    suite, thresholds = load(name)
    assert suite.server.tp == 2
    assert thresholds.models[suite.model.name].tasks.keys() >= suite.tasks.keys()


def test_the_project_has_its_suites_and_tasks() -> None:
    assert suite_names() == [
        "llama-2-7b-npu",
        "qwen3-8b-npu",
        "smollm2-cpu",
        "smollm2-cuda",
        "smollm2-cuda-one-gpu",
        "tiny-moe-cpu",
    ]
    assert task_names() == ["boolq", "ceval", "gsm8k", "gsm8k_lm_eval"]


@pytest.mark.parametrize(("suite", "floor"), [("qwen3-8b-npu", 0.85), ("llama-2-7b-npu", 0.18)])
def test_floors_are_upstreams(suite: str, floor: float) -> None:
    content, thresholds = load(suite)
    row = thresholds.models[content.model.name].tasks["gsm8k"]
    assert row.floor == floor
    assert row.metric == "exact_match,last-number"
    assert "PR #20520" in row.source
    assert content.tasks["gsm8k"].questions >= row.min_questions


def test_defaults_are_filled_in(files: Files) -> None:
    suite, _ = files.load()
    assert (suite.compression.codec, suite.compression.algorithm) == ("int8_token", "one_shot")
    assert suite.compression.live_check.every > 0
    assert suite.tasks["boolq"].concurrency == 1
    assert suite.tasks["boolq"].max_new_tokens is None


def test_an_unknown_suite_names_those_there_are(files: Files) -> None:
    (files.suites / "two.yaml").write_text("anything")
    with pytest.raises(HarnessError, match=r"there is no suite 'three' in .*suites; there are: one, two$"):
        files.load("three")


def test_both_files_problems_come_at_once(files: Files) -> None:
    files.write(
        {**SUITE, "device": "tpu", "server": {"tp": 1, "args": []}, "colour": "red"},
        {"models": {"M": {"boolq": {"metric": "acc,none", "floor": 1.5, "source": "here"}}}},
    )
    assert files.problems() == [
        "one.yaml:2: device: Input should be 'cpu', 'cuda' or 'npu'",
        "one.yaml:7: server.tp: Input should be greater than or equal to 2",
        "one.yaml:17: colour: is not a known key",
        "thresholds.yaml:5: models.M.boolq.floor: Input should be less than or equal to 1",
    ]


def test_names_that_nothing_knows_come_at_once(files: Files) -> None:
    files.write(
        {
            **SUITE,
            "tasks": {"boolq": {"questions": 4}, "bool_q": {"questions": 4}, "gsm8k": {"questions": 4}},
        },
        {
            "models": {
                "M": {**THRESHOLDS["models"]["M"], "gsm9k": THRESHOLDS["models"]["M"]["boolq"]},
                "N": {},
            }
        },
    )
    found = files.problems()
    no_task = f"is not a task; there are: {', '.join(task_names())}, and those of lm-eval by their names"
    assert found == [
        f"thresholds.yaml:7: models.M.gsm9k: {no_task}",
        "thresholds.yaml:8: models.N: is the model of no suite; there are: M",
        f"one.yaml:18: tasks.bool_q: {no_task}",
        "one.yaml:20: tasks.gsm8k: has no row for M in thresholds.yaml: add one, if only report_only",
    ]


def test_a_model_without_any_row(files: Files) -> None:
    files.write({**SUITE, "model": {"name": "Other", "path": "m"}}, THRESHOLDS)
    assert [problem.split(": ")[1] for problem in files.problems()] == ["models.M", "tasks.boolq"]


def test_a_broken_neighbour_does_not_stop_a_good_suite(files: Files) -> None:
    row = THRESHOLDS["models"]["M"]
    files.write(SUITE, {"models": {"M": row, "the model of the broken suite": row}})
    (files.suites / "two.yaml").write_text("nothing: of use\n")
    assert files.load()[0].description == "one"


@pytest.mark.parametrize(
    "argument",
    [
        "--tp=2",
        "--tp-size",
        "--port=1",
        "--model-path=x",
        "--host",
        "--api-key=k",
        "--config=c.yaml",
        "--revision=main",
        "--enable-quant-communications",
    ],
)
def test_arguments_that_are_the_harnesss_own(files: Files, argument: str) -> None:
    files.write({**SUITE, "server": {"tp": 2, "args": ["--dtype=float32", argument]}}, THRESHOLDS)
    name = argument.split("=", maxsplit=1)[0]
    assert files.problems() == [f"one.yaml:10: server.args.1: {name} is set by the harness: remove it"]


@pytest.mark.parametrize(
    ("argument", "own"), [("--hos=::", "--host"), ("--api=k", "--api-key"), ("--conf", "--config")]
)
def test_beginnings_of_the_harnesss_own_arguments(files: Files, argument: str, own: str) -> None:
    files.write({**SUITE, "server": {"tp": 2, "args": [argument]}}, THRESHOLDS)
    (problem,) = files.problems()
    assert f"may stand for {own}, which is set by the harness: write arguments in full" in problem


def test_a_models_own_code_is_run_only_where_a_suite_says_why(files: Files) -> None:
    files.write({**SUITE, "server": {"tp": 2, "args": ["--trust-remote-code"]}}, THRESHOLDS)
    (problem,) = files.problems()
    assert "remove it, or say why it is needed with `model.trust_remote_code`" in problem
    model = {**SUITE["model"], "trust_remote_code": "its attention is in no release of transformers yet"}
    files.write({**SUITE, "model": model}, THRESHOLDS)
    assert files.load()[0].model.trust_remote_code == model["trust_remote_code"]


def test_a_suite_holds_no_secret(files: Files) -> None:
    files.write(
        {**SUITE, "server": {"tp": 2, "args": [], "env": {"HF_TOKEN": "hf_x", "MAX_TOKENS": "3"}}}, THRESHOLDS
    )
    (problem,) = files.problems()
    assert "server.env.HF_TOKEN: looks like a secret" in problem


@pytest.mark.parametrize(("revision", "fits"), [("a" * 40, True), ("main", False), ("", False)])
def test_a_revision_is_a_commit(files: Files, revision: str, *, fits: bool) -> None:
    files.write({**SUITE, "model": {**SUITE["model"], "revision": revision}}, THRESHOLDS)
    if fits:
        assert files.load()[0].model.revision == revision
    else:
        assert "model.revision" in files.problems()[0]


def test_arguments_that_merely_look_alike_pass(files: Files) -> None:
    arguments = ["--tp-something=2", "--dtype=--port", "--served-model-name=--model-path"]
    files.write({**SUITE, "server": {"tp": 2, "args": arguments}}, THRESHOLDS)
    assert files.load()[0].server.args == arguments


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"tasks": {}}, "tasks"),
        ({"tasks": {"boolq": {"questions": 0}}}, "tasks.boolq.questions"),
        ({"tasks": {"boolq": {"questions": 4, "concurrency": 0}}}, "tasks.boolq.concurrency"),
        ({"tasks": {"boolq": {"questions": 4, "max_new_tokens": -1}}}, "tasks.boolq.max_new_tokens"),
        ({"data": "attic"}, "data"),
        ({"request_timeout_s": 0}, "request_timeout_s"),
        ({"fidelity": {}}, "fidelity"),
        ({"fidelity": {"boolq": 0}}, "fidelity.boolq"),
        ({"fidelity": {"tasks": {"boolq": 0}}}, "fidelity.tasks.boolq"),
        ({"fidelity": {"boolq": 4, "tasks": {"boolq": 4}}}, "fidelity"),
        ({"fidelity": {"boolq": 4, "max_tokens": 1}}, "fidelity.max_tokens"),
        ({"fidelity": {"boolq": 4, "top": 5}}, "fidelity.top"),
        ({"server": {"tp": 2, "args": "--dtype=float32"}}, "server.args"),
        ({"server": {"tp": 2, "args": [], "env": {"CORES": 2}}}, "server.env.CORES"),
        ({"server": {"tp": "2", "args": []}}, "server.tp"),
        ({"compression": {"codec": "some.kernel:all_reduce"}}, "compression"),
        ({"compression": {"codec": "int8_token", "claims": "int8_token"}}, "compression"),
        ({"compression": {"algorithm": "one-shot"}}, "compression.algorithm"),
        ({"compression": {"live_check": {"every": -1}}}, "compression.live_check.every"),
    ],
)
def test_impossible_values_of_a_suite(files: Files, changed: dict[str, Any], key: str) -> None:
    files.write({**SUITE, **changed}, THRESHOLDS)
    (problem,) = files.problems()
    assert problem.split(": ")[1] == key


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"source": "s", "metric": "acc,none"}, "judges nothing"),
        ({"source": "s", "metric": "acc,none", "max_truncated": 0.1}, "judges nothing"),
        ({"source": "s", "metric": "acc,none", "floor": 0.1, "report_only": True}, "keep one or the other"),
        (
            {"source": "s", "metric": "acc,none", "max_drop": 0.1, "report_only": True},
            "keep one or the other",
        ),
        ({"metric": "acc,none", "floor": 0.1}, "is missing"),
        ({"source": "s", "floor": 0.1}, "is missing"),
        ({"source": "s", "metric": "acc,none", "floor": "0.1"}, "valid number"),
        ({"source": "s", "metric": "acc,none", "floor": -0.1}, "greater than or equal to 0"),
        ({"source": "s", "metric": "acc,none", "floor": float("nan")}, "Input should be"),
        ({"source": "s", "metric": "acc,none", "max_drop": 2}, "less than or equal to 1"),
        ({"source": "s", "metric": "acc,none", "max_truncated": 5, "floor": 0.1}, "less than or equal to 1"),
        ({"source": "s", "metric": "acc,none", "floor": 0.1, "min_questions": 0}, "greater than 0"),
        ({"source": "s", "metric": "acc,none", "floor": 0.1, "flor": 0.1}, "is not a known key"),
        ({"source": "s", "metric": "acc,none", "max_drop": 0.1, "floor_questions": 9}, "and no `floor`"),
        ({"source": "s", "metric": "acc,none", "max_drop": 0.1, "floor_rule": "upstream"}, "and no `floor`"),
    ],
)
def test_impossible_thresholds(files: Files, row: dict[str, Any], says: str) -> None:
    files.write(SUITE, {"models": {"M": {"boolq": row}}})
    (problem,) = files.problems()
    assert problem.startswith("thresholds.yaml:")
    assert ": models.M.boolq" in problem
    assert says in problem


@pytest.mark.parametrize("row", [{"floor": 0}, {"floor": 1}, {"max_drop": 0}, {"report_only": True}])
def test_thresholds_at_the_edges_are_possible(files: Files, row: dict[str, Any]) -> None:
    files.write(SUITE, {"models": {"M": {"boolq": {"source": "s", "metric": "acc,none", **row}}}})
    assert files.load()[1].models["M"].tasks["boolq"].source == "s"


def pooled(**row: Any) -> dict[str, Any]:
    drops = {"metric": "acc,none", "max_drop": 0.1, "source": "s"}
    return {"models": {"M": {"boolq": drops, "pooled": {"source": "here", **row}}}}


def test_what_all_tasks_may_lose_together_stands_beside_them(files: Files) -> None:
    files.write(SUITE, pooled(max_drop=0.01))
    rows = files.load()[1].models["M"]
    assert list(rows.tasks) == ["boolq"]
    assert rows.pooled is not None
    assert rows.pooled.max_drop == 0.01


def test_a_pooled_row_needs_a_drop_and_all_questions(files: Files) -> None:
    files.write(SUITE, pooled())
    (problem,) = files.problems()
    assert "models.M.pooled.max_drop: is missing" in problem
    without = {"models": {"M": {**pooled(max_drop=0.01)["models"]["M"], "boolq": THRESHOLDS["models"]["M"]["boolq"]}}}
    without["models"]["M"]["boolq"] = {"metric": "acc,none", "floor": 0.5, "source": "s"}
    files.write(SUITE, without)
    (problem,) = files.problems()
    assert "no task with a `max_drop`" in problem
    early = {**SUITE, "tasks": {"boolq": {**SUITE["tasks"]["boolq"], "early_stop": True}}}
    files.write(early, pooled(max_drop=0.01))
    (problem,) = files.problems()
    assert "the pooled test of M needs all questions" in problem


def test_what_is_accepted_of_predictions_stands_beside_the_tasks(files: Files) -> None:
    row: dict[str, Any] = {"max_mean_kl": 0.02, "min_same_top": 0.9, "source": "here"}
    models = {"models": {"M": {**THRESHOLDS["models"]["M"], "fidelity": row}}}
    files.write({**SUITE, "fidelity": {"boolq": 4}}, models)
    suite, thresholds = files.load()
    rows = thresholds.models["M"]
    assert (list(rows.tasks), rows.fidelity) == (["boolq"], FidelityThreshold(**row))
    assert suite.fidelity is not None
    assert (suite.fidelity.texts, suite.fidelity.max_tokens) == ({"boolq": 4}, 128)
    files.write(SUITE, models)
    (problem,) = files.problems()
    assert problem.startswith("thresholds.yaml:7: models.M.fidelity: is measured by no suite of M: give one the key")


@pytest.mark.parametrize(
    ("row", "line", "key", "says"),
    [
        ({"source": "s"}, 7, "", "judges nothing"),
        ({"max_mean_kl": 0.1}, 7, ".source", "is missing"),
        ({"max_mean_kl": 0, "source": "s"}, 8, ".max_mean_kl", "greater than 0"),
        ({"max_mean_kl": float("inf"), "source": "s"}, 8, ".max_mean_kl", "finite"),
        ({"min_same_top": 90, "source": "s"}, 8, ".min_same_top", "less than or equal to 1"),
        ({"min_same_top": 0.9, "source": "s", "max_drop": 0.1}, 10, ".max_drop", "is not a known key"),
    ],
)
def test_impossible_thresholds_of_predictions(
    files: Files, row: dict[str, Any], line: int, key: str, says: str
) -> None:
    models = {"models": {"M": {**THRESHOLDS["models"]["M"], "fidelity": row}}}
    files.write({**SUITE, "fidelity": {"boolq": 4}}, models)
    (problem,) = files.problems()
    assert problem.startswith(f"thresholds.yaml:{line}: models.M.fidelity{key}: ")
    assert says in problem


@settings(deadline=None)
@given(
    floor=st.none() | st.floats(),
    max_drop=st.none() | st.floats(),
    report_only=st.booleans(),
)
def test_a_threshold_judges_or_reports_and_never_both(
    floor: float | None, max_drop: float | None, *, report_only: bool
) -> None:
    given_values = [value for value in (floor, max_drop) if value is not None]
    possible = all(0 <= value <= 1 for value in given_values) and bool(given_values) is not report_only
    row = {"floor": floor, "max_drop": max_drop, "report_only": report_only, "metric": "m,f", "source": "s"}
    try:
        Threshold.model_validate(row)
    except ValidationError:
        assert not possible
    else:
        assert possible
