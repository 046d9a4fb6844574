"""A matrix: what it asks for, what shares a baseline, and everything that is wrong in it at once."""

from pathlib import Path
from typing import Any

import pytest

from harness.errors import ConfigError, HarnessError
from harness.fleet.matrix import FLEETS, baseline_key, matrix_file, needs_of, read_matrix, releases
from harness.fleet.relocate import relocate
from harness.plan.plan import Plan
from tests.support import make


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "night.yaml"
    file.write_text(text)
    return file


def test_a_row_is_all_its_suites_times_its_compressions_times_its_releases(tmp_path: Path) -> None:
    policy = tmp_path / "careful.yaml"
    policy.write_text("rules:\n  - {codec: int8_group64, algorithm: one_shot}\n")
    file, wanted = read_matrix(
        written(
            tmp_path,
            "runs:\n  - suites: [smollm2-cpu, tiny-moe-cpu]\n    codecs: [int8_token]\n"
            f"    policies: [{policy}]\n    sglang: ['0.5.16', '0.5.23']\n    limit: 8\n    noise_floor: false\n"
            "  - suites: [smollm2-cpu]\n",
        )
    )
    assert len(wanted) == 9
    assert wanted[0].arguments == [
        *("accuracy", "--suite", "smollm2-cpu", "--codec", "int8_token", "--sglang", "0.5.16", "--limit", "8"),
        "--no-noise-floor",
    ]
    assert {one.compression for one in wanted} == {"int8_token", "careful", "the suite's own"}
    assert wanted[-1].arguments == ["accuracy", "--suite", "smollm2-cpu"]
    assert releases(file.content) == ["0.5.16", "0.5.23"]


def test_everything_that_is_wrong_is_told_at_once_by_line_and_key(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        "runs:\n  - suites: [smollm2-cpu, no-such]\n    policies: [nowhere.yaml]\n  - suites: [tiny-moe-cpu]\n"
        "  - suites: [tiny-moe-cpu]\n",
    )
    with pytest.raises(ConfigError) as error:
        read_matrix(file)
    told = [str(problem) for problem in error.value.problems]
    assert [text.split(" ")[0].removeprefix(f"{file}:") for text in told] == [
        "2:",
        "3:",
        "5:",
    ]
    assert "runs.0.suites.1: there is no suite 'no-such'" in told[0]
    assert "nowhere.yaml" in told[1]
    assert "asks for tiny-moe-cpu with the suite's own a second time" in told[2]


def test_an_interpreter_is_named_once(tmp_path: Path) -> None:
    file = written(
        tmp_path, "runs:\n  - suites: [smollm2-cpu]\n    sglang: ['0.5.16']\n    server_python: /a/python\n"
    )
    with pytest.raises(ConfigError, match="both name an interpreter"):
        read_matrix(file)


def test_a_matrix_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(HarnessError, match="one of suites/fleet: cpu"):
        matrix_file("no-such")
    assert matrix_file("cpu").is_file()


@pytest.mark.parametrize("file", sorted(FLEETS.glob("*.yaml")), ids=lambda file: file.stem)
def test_the_projects_own_matrices_are_right(file: Path) -> None:
    assert read_matrix(file)[1]


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({"codec": "int8_group64"}, True),
        ({"live_check": False}, True),
        ({"strict": True}, True),
        ({"limit": 64}, False),
        ({"suite": "tiny-moe-cpu"}, False),
        ({"early_stop": True}, False),
    ],
)
def test_what_is_compressed_makes_no_other_baseline_and_what_is_asked_does(
    tmp_path: Path, changed: dict[str, Any], *, same: bool
) -> None:
    one = make(tmp_path)
    other = make(tmp_path, **changed)
    elsewhere = relocate(other, tmp_path / "elsewhere" / "run")
    assert (baseline_key(one, 1) == baseline_key(elsewhere, 1)) == same
    assert baseline_key(one, 1) != baseline_key(one, 2)


def test_an_arm_asks_for_the_devices_of_its_suite(tmp_path: Path) -> None:
    [one], row = [make(tmp_path)], read_matrix(matrix_file("cpu"))[1][0].row
    row = row.model_copy(update={"memory_gib": 2.0, "resources": {"model:mine": 1.0}})

    def needs(plan: Plan) -> dict[str, float]:
        return needs_of(plan, row).by_name

    own = {"CPU": 1.0, "memory": 2.0 * 2**30, "model:mine": 1.0}
    assert needs(one) == {**own, "harness_cpu_server": 1.0}
    assert needs(one.model_copy(update={"device": "cuda", "tp": 4})) == {**own, "GPU": 4.0}
    assert needs(one.model_copy(update={"device": "npu", "tp": 8})) == {**own, "NPU": 8.0}


def test_a_plan_elsewhere_is_the_same_but_for_where_it_writes(tmp_path: Path) -> None:
    plan = make(tmp_path)
    moved = relocate(plan, tmp_path / "scratch")
    assert moved.folder == str(tmp_path / "scratch")
    for before, after in zip(plan.arms, moved.arms, strict=True):
        assert after.engagement == f"{tmp_path}/scratch/{before.name}/engagement"
        assert after.settings.dir == tmp_path / "scratch" / before.name / "engagement"
        assert after.settings.reference == tmp_path / "scratch" / "baseline" / "engagement"
        assert after.argv == before.argv
    assert plan.folder not in moved.model_dump_json()
    assert relocate(moved, Path(plan.folder)) == plan
