import os
from pathlib import Path

import pytest

from harness.config.load import load
from harness.config.suite import Deadlines, FidelityRun
from harness.errors import HarnessError
from harness.plan.preflight import check_sglang
from harness.study.make import StudyOptions, make_study, split_list, split_name, split_ranks
from harness.study.plan import DEFAULT_CANDIDATES, StudyPlan
from tests.support import write_interpreter, write_model


def options(folder: Path, **chosen: object) -> StudyOptions:
    """Return options with an interpreter and a model that are there."""
    python = write_interpreter(folder / "bin")
    model = write_model(folder / "model")
    return StudyOptions.model_validate(
        {
            "suite": "smollm2-cpu",
            "server_python": python,
            "plugin_path": folder,
            "model_path": str(model),
            "reports": folder,
            **chosen,
        }
    )


def plan(folder: Path, **chosen: object) -> StudyPlan:
    suite, _ = load("smollm2-cpu")
    return make_study(suite, options(folder, **chosen), data=folder, data_manifest={}, repeat="-")


def test_the_server_is_the_suites_with_one_rank_on_all_cores(tmp_path: Path) -> None:
    (arm,) = plan(tmp_path).arms
    assert arm.argv[arm.argv.index("--tp-size") + 1] == "1"
    assert "--enable-quant-communications" not in arm.argv
    assert "--disable-radix-cache" in arm.argv
    assert arm.env["SGLANG_CPU_OMP_THREADS_BIND"] == "0,1"
    assert arm.env["OMP_NUM_THREADS"] == "2"
    assert arm.settings.virtual_ranks == 2
    assert arm.settings.policy().choice("ffn", 0) is None


def test_each_number_of_ranks_has_a_server_and_its_candidates(tmp_path: Path) -> None:
    found = plan(tmp_path, ranks=[4, 2, 4], codecs=["int8_token", "int8_hadamard:one_shot"])
    assert found.ranks == [4, 2]
    assert [arm.settings.virtual_ranks for arm in found.arms] == [4, 2]
    assert [(one.ranks, one.codec, one.algorithm) for one in found.candidates] == [
        (4, "int8_token", "two_shot"),
        (4, "int8_hadamard", "one_shot"),
        (2, "int8_token", "one_shot"),
        (2, "int8_hadamard", "one_shot"),
    ]


@pytest.mark.server
@pytest.mark.usefixtures("no_strays")
def test_the_shipped_candidates_work_at_their_number_of_ranks(tmp_path: Path, server_python: Path) -> None:
    """What others' mechanisms support is written down where no torch is; SGLang's interpreter knows it."""
    plugin = Path(os.environ["HARNESS_PLUGIN_PATH"])
    found = plan(tmp_path, server_python=server_python, plugin_path=plugin, ranks=[2, 3, 4, 6, 8, 16])
    candidates = [(one.codec, one.algorithm, one.ranks) for one in found.candidates]
    check_sglang(found.server_python, found.arms[:1], candidates=candidates, gpus=None)
    assert sum(ranks == 8 for *_, ranks in candidates) == 12
    with pytest.raises(HarnessError, match="quickreduce_int8 own at 3 ranks cannot be measured"):
        check_sglang(found.server_python, found.arms[:1], candidates=[("quickreduce_int8", "own", 3)], gpus=None)


def test_the_shipped_candidates_are_twelve(tmp_path: Path) -> None:
    found = plan(tmp_path)
    assert len(found.candidates) == len(DEFAULT_CANDIDATES) == 12
    assert len({(one.codec, one.algorithm) for one in found.candidates}) == 12


@pytest.mark.parametrize(
    ("name", "ranks", "expected"),
    [
        ("int8_token", 3, ("int8_token", "one_shot")),
        ("int8_token", 8, ("int8_token", "two_shot")),
        ("int8_token:one_shot", 8, ("int8_token", "one_shot")),
        ("quickreduce_int8:own", 2, ("quickreduce_int8", "own")),
        ("my.module:reduce", 2, ("my.module:reduce", "own")),
        ("my.module:reduce:two_shot", 2, ("my.module:reduce", "two_shot")),
    ],
)
def test_a_candidates_name(name: str, ranks: int, expected: tuple[str, str]) -> None:
    assert split_name(name, ranks) == expected


def test_a_suite_of_its_own_tasks_is_studied_on_their_texts_and_questions(tmp_path: Path) -> None:
    suite, _ = load("smollm2-cpu")
    own = suite.model_copy(
        update={
            "fidelity": FidelityRun(tasks={"gsm8k": 12, "boolq": 40}, concurrency=2),
            "deadlines": Deadlines(run_s=77),
        }
    )
    found = make_study(own, options(tmp_path), data=tmp_path, data_manifest={}, repeat="-")
    assert (found.texts.texts, found.texts.of_tasks) == ({"gsm8k": 12, "boolq": 16}, ["gsm8k", "boolq"])
    assert (list(found.tasks), found.scored_task, found.questions) == (["gsm8k", "boolq"], "gsm8k", 8)
    assert found.deadlines.run_s == 77
    # Without: BoolQ's, and nothing is loaded where nothing is scored.
    assert plan(tmp_path / "usual").scored_task == "boolq"
    assert plan(tmp_path / "unscored", questions=0).tasks == {}


def test_what_is_missing_is_said_at_once(tmp_path: Path) -> None:
    suite, _ = load("smollm2-cpu")
    nowhere = options(tmp_path, model_path=str(tmp_path / "none"), server_python=tmp_path / "no-python")
    with pytest.raises(HarnessError) as caught:
        make_study(suite, nowhere, data=tmp_path, data_manifest={}, repeat="-")
    assert "none" in str(caught.value)
    assert "no-python" in str(caught.value)


def test_lists_of_the_command_line() -> None:
    assert split_ranks("2,4, 8") == [2, 4, 8]
    assert split_list(" a , b:own,") == ["a", "b:own"]
    with pytest.raises(HarnessError, match="--ranks takes numbers"):
        split_ranks("two")
    with pytest.raises(HarnessError, match="--codecs names none"):
        split_list(" ,")
