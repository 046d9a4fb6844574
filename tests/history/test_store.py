"""What is taken into the memory of runs, and what is left out."""

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import accuracy
from harness.cli.accuracy import take_in_mind
from harness.errors import HarnessError
from harness.history.store import FILE, SCHEMA_VERSION, opened
from harness.history.sync import is_running
from harness.places import ROOT
from harness.plan.plan import Plan
from harness.records.run import read_record, write_record
from harness.records.run_folder import RunFolder
from harness.run.journal import opened as journal_of
from tests.history.nights import Command, judged, plan_of, write_night


def test_what_is_no_database_is_refused_with_what_to_do(tmp_path: Path) -> None:
    write_night(tmp_path, 0)
    reports = tmp_path / "reports"
    (reports / FILE).write_bytes(b"none" * 1000)
    with pytest.raises(HarnessError, match="it can be deleted at any time"), opened(reports):
        pass


def test_a_newer_form_is_refused_and_an_older_one_is_made_anew(tmp_path: Path) -> None:
    write_night(tmp_path, 0)
    reports = tmp_path / "reports"
    judged(reports)
    for version in (SCHEMA_VERSION + 1, 0):
        connection = sqlite3.connect(reports / FILE)
        connection.execute(f"PRAGMA user_version = {version}")
        connection.commit()
        connection.close()
        if version:
            with pytest.raises(HarnessError, match="written by a newer harness"), opened(reports):
                pass
    assert len(judged(reports).runs) == 1


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    """Each brings the same folders in; none fails, and none is there twice."""
    for night in range(3):
        write_night(tmp_path, night)
    reports = tmp_path / "reports"
    code = (
        "import sys; from pathlib import Path; from harness.history.store import opened; "
        "from harness.history.sync import sync\n"
        "reports = Path(sys.argv[1])\n"
        "for _ in range(5):\n"
        "    with opened(reports) as store:\n"
        "        store.forget([path.name for path in reports.iterdir()]); sync(store, reports)\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(reports)], cwd=ROOT, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    assert [(process.communicate()[1], process.returncode) for process in started] == [(b"", 0)] * 4
    assert len(judged(reports).runs) == 3


def test_a_changed_and_a_vanished_folder_are_noticed(tmp_path: Path) -> None:
    folders = [write_night(tmp_path, night) for night in range(3)]
    reports = tmp_path / "reports"
    assert len(judged(reports).runs) == 3
    shutil.rmtree(folders[0].path)
    report = folders[1].report.read_text().replace('"verdict": "PASS"', '"verdict": "FAIL"', 1)
    folders[1].report.write_text(report)
    assert [run.verdict for run in judged(reports).runs] == ["FAIL", "PASS"]


def test_a_run_that_is_at_work_is_left_alone_and_one_that_was_cut_off_is_an_error(tmp_path: Path) -> None:
    cut = write_night(tmp_path, 0, report=False, errors=["the server died"])
    plan = plan_of(tmp_path, 1)
    reports = tmp_path / "reports"
    with journal_of(plan, {}, resume=False):
        assert is_running(RunFolder(Path(plan.folder)))
        assert not is_running(cut)
        assert [run.verdict for run in judged(reports).runs] == ["ERROR"]
    assert len(judged(reports).runs) == 2


def test_other_kinds_of_folders_are_no_runs(tmp_path: Path) -> None:
    night = write_night(tmp_path, 0)
    reports = tmp_path / "reports"
    (reports / "20260101-000000-study-x").mkdir()
    (reports / "20260101-000000-study-x" / "plan.json").write_text('{"texts": 1}')
    (reports / "latest").symlink_to(night.path.name)
    calibration = reports / "20260101-000000-calibration"
    calibration.mkdir()
    plan = read_record(night.plan, Plan)
    write_record(calibration / "plan.json", plan.model_copy(update={"arms": plan.arms[:1]}))
    assert len(judged(reports).runs) == 1


def test_what_cannot_be_read_is_named_and_stops_no_other(tmp_path: Path, command: Command) -> None:
    broken, _ = write_night(tmp_path, 0), write_night(tmp_path, 1)
    broken.plan.write_text(broken.plan.read_text().replace('"tp":', '"ranks":', 1))
    code, said = command("history", "--reports", tmp_path / "reports", "--no-plot")
    assert code == 0
    assert f"not taken in: {broken.path}" in said
    assert "smollm2-cpu: figures of 1 run" in said


def test_a_folder_of_another_user_is_named_and_stops_no_other(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, _ = write_night(tmp_path, 0), write_night(tmp_path, 1)
    stat = Path.stat

    def refused(path: Path, **options: bool) -> os.stat_result:
        if theirs.path in path.parents:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", refused)
    code, said = command("history", "--reports", tmp_path / "reports", "--no-plot")
    assert code == 0
    assert f"not taken in: {theirs.path}: [Errno 13] Permission denied" in said
    assert "smollm2-cpu: figures of 1 run" in said


def test_no_runs_is_an_error_that_says_what_makes_one(tmp_path: Path, command: Command) -> None:
    code, said = command("history", "--reports", tmp_path / "reports")
    assert code == 3
    assert "`nox -s accuracy` makes one" in said


def test_a_run_that_ends_is_taken_in_and_what_keeps_it_out_is_no_matter_of_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(accuracy, "LAST_WORDS", said)
    night = write_night(tmp_path, 0)
    reports = tmp_path / "reports"
    take_in_mind(night)
    with opened(reports) as store:
        assert list(store.stamps()) == [night.path.name]
    assert said == []
    connection = sqlite3.connect(reports / FILE)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    take_in_mind(night)
    [told] = said
    assert "was written by a newer harness" in told


def test_a_copy_of_a_run_takes_no_others_place(tmp_path: Path) -> None:
    night = write_night(tmp_path, 0)
    shutil.copytree(night.path, night.path.with_name("copied"))
    found = judged(tmp_path / "reports")
    assert {run.run_id for run in found.runs} == {night.path.name, "copied"}
