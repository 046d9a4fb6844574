import json
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.records.run import ArmRecord, RunRecord, TaskRecord, read_record, write_record
from harness.records.run_folder import RunFolder
from tests.support import make

ARM = ArmRecord(
    server_args={"tp_size": 2, "nested": {"a": [1, None]}},
    known_answer=True,
    seconds_to_ready=1.5,
    tasks={
        "gsm8k": TaskRecord(
            seconds=2.25, questions=3, protocol={"stop": ["Question"], "cap": None}, protocol_text="x"
        )
    },
)
RUN = RunRecord(started="2026-01-02T03:04:05+00:00", seconds=3.0, errors=["one\ntwo"], versions={"python": "3"})


@pytest.mark.parametrize("record", [ARM, RUN])
def test_a_record_is_read_back(tmp_path: Path, record: ArmRecord | RunRecord) -> None:
    write_record(tmp_path / "record.json", record)
    assert read_record(tmp_path / "record.json", type(record)) == record


def test_a_plan_is_read_back(tmp_path: Path) -> None:
    plan = make(tmp_path)
    write_record(RunFolder(tmp_path).plan, plan)
    assert read_record(RunFolder(tmp_path).plan, type(plan)) == plan


def test_a_record_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    for seconds in (1.0, 2.0):
        write_record(file, RUN.model_copy(update={"seconds": seconds}))
    assert json.loads(file.read_text())["seconds"] == 2.0
    assert list(tmp_path.iterdir()) == [file]


def test_a_write_that_fails_leaves_the_old_record(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    write_record(file, RUN)
    # A folder in the way of the aside file: writing cannot even begin.
    (tmp_path / "record.json.partial").mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        write_record(file, RUN.model_copy(update={"seconds": 2.0}))
    assert read_record(file, RunRecord) == RUN


def test_a_missing_record(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"run.json cannot be read: No such file or directory"):
        read_record(RunFolder(tmp_path).run, RunRecord)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"started": "x"}', RUN.model_dump_json()[:-2]])
def test_a_broken_record_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(HarnessError, match=r"run.json is not a RunRecord of this version"):
        read_record(tmp_path / "run.json", RunRecord)


def test_a_record_of_another_version(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({**RUN.model_dump(), "novelty": 1}))
    with pytest.raises(HarnessError, match="novelty"):
        read_record(tmp_path / "run.json", RunRecord)
