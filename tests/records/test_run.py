import json
from pathlib import Path

import pytest

from harness import records
from harness.errors import HarnessError
from harness.records.run import ArmRecord, RunRecord, TaskRecord
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
    records.write(tmp_path / "record.json", record)
    assert records.read(tmp_path / "record.json", type(record)) == record


def test_a_plan_is_read_back(tmp_path: Path) -> None:
    plan = make(tmp_path)
    records.write(tmp_path / records.PLAN, plan)
    assert records.read(tmp_path / records.PLAN, type(plan)) == plan


def test_a_record_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    for seconds in (1.0, 2.0):
        records.write(file, RUN.model_copy(update={"seconds": seconds}))
    assert json.loads(file.read_text())["seconds"] == 2.0
    assert list(tmp_path.iterdir()) == [file]


def test_a_write_that_fails_leaves_the_old_record(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    records.write(file, RUN)
    # A folder in the way of the aside file: writing cannot even begin.
    (tmp_path / "record.json.partial").mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        records.write(file, RUN.model_copy(update={"seconds": 2.0}))
    assert records.read(file, RunRecord) == RUN


def test_a_missing_record(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"run.json cannot be read: No such file or directory"):
        records.read(tmp_path / records.RUN, RunRecord)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"started": "x"}', RUN.model_dump_json()[:-2]])
def test_a_broken_record_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(HarnessError, match=r"run.json is not a RunRecord of this version"):
        records.read(tmp_path / "run.json", RunRecord)


def test_a_record_of_another_version(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({**RUN.model_dump(), "novelty": 1}))
    with pytest.raises(HarnessError, match="novelty"):
        records.read(tmp_path / "run.json", RunRecord)


def test_settings_are_kept_without_state_and_without_keys() -> None:
    info = {
        "api_key": "s3cret",
        "admin_api_key": "s4cret",
        "model_path": "m",
        "port": 1,
        "internal_states": [{"load": 1}],
        "launch_command": "sglang serve --api-key s3cret",
    }
    names = frozenset({"api_key", "admin_api_key", "model_path", "port", "unset"})
    assert records.settings(info, names) == {
        "api_key": "<redacted>",
        "admin_api_key": "<redacted>",
        "model_path": "m",
        "port": 1,
    }


def test_an_unset_key_stays_seen_as_unset() -> None:
    unset = {"api_key": None, "admin_api_key": ""}
    assert records.settings(unset, frozenset(unset)) == unset
