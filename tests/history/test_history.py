"""The memory of runs: what is taken in, how nights are judged, what an alarm names, what is left of old runs."""

import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from harness.cli import accuracy
from harness.cli.accuracy import take_in_mind
from harness.cli.main import main
from harness.errors import HarnessError
from harness.history.store import FILE, SCHEMA_VERSION, opened
from harness.history.suspects import differences
from harness.history.sync import is_running, sync
from harness.history.trend import Alarm, Trend, trend
from harness.judge.verdict import Verdict
from harness.places import ROOT
from harness.plan.plan import Plan
from harness.records.run import read_record, write_record
from harness.records.run_folder import RunFolder
from harness.records.samples import read_samples
from harness.run.journal import opened as journal_of
from tests.history.nights import flicker, plan_of, write_night

SUITE = "smollm2-cpu"
Command = Callable[..., tuple[int, str]]
DRIFT, BEGUN = 20, 12


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["harness", *map(str, arguments)])
        code = main()
        said = capsys.readouterr()
        return code, said.out + said.err

    return call


@pytest.fixture(scope="module")
def drift(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty nights of 1,314 questions, of which 4 % differ from night to night; an upgrade costs 2 points."""
    folder, rng, questions = tmp_path_factory.mktemp("drift"), np.random.default_rng(0), 1314
    before = flicker(rng, questions, 0.04)
    after = before.copy()
    after[rng.choice(np.flatnonzero(before == 1), 26, replace=False)] = 0.0
    for night in range(DRIFT):
        upgraded = night >= BEGUN
        write_night(
            folder,
            night,
            questions=questions,
            wrong=np.flatnonzero(rng.random(questions) >= before).tolist(),
            lost=np.flatnonzero(rng.random(questions) >= (after if upgraded else before)).tolist(),
            facts={"sglang": "0.5.24" if upgraded else "0.5.23", "harness": f"{night // 3:064d}"},
        )
    return folder / "reports"


def judged(reports: Path) -> Trend:
    with opened(reports) as store:
        assert sync(store, reports) == []
        found = trend(store, SUITE)
    assert found is not None
    return found


def alarm_of(found: Trend) -> Alarm:
    [(_, alarm)] = found.alarms
    return alarm


def test_a_planted_drift_is_named_with_its_night_and_its_suspect(drift: Path, command: Command) -> None:
    code, said = command("history", "--reports", drift)
    assert code == 1
    alarm = alarm_of(judged(drift))
    nights = sorted(path.name for path in drift.iterdir() if path.name.endswith(SUITE))
    assert alarm.since.run_id == nights[BEGUN]
    assert alarm.by == pytest.approx(0.02, abs=0.005)
    # What changed every third night is no better suspect than what changed with the night it began with.
    assert [(change.what.name, change.run.run_id) for change in alarm.changes][:2] == [
        ("sglang", nights[BEGUN]),
        ("harness", nights[BEGUN]),
    ]
    assert f"WORSE boolq compressed: worse by 2.0 points since {nights[BEGUN]}" in said
    assert f"suspect: SGLang: sglang: 0.5.23 -> 0.5.24 (with {nights[BEGUN]})" in said
    assert 24 <= len(alarm.items) <= 32
    svg = (drift / f"history-{SUITE}.svg").read_text()
    assert "boolq: accuracy of both arms" in svg
    assert "http" not in svg.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    ).replace("https://matplotlib.org", "")


def test_a_single_night_of_it_shows_nothing(drift: Path) -> None:
    """What the memory is for: no run by itself could see 2 points, since its own margin is 10."""
    reports = [RunFolder(path) for path in drift.iterdir() if path.name.endswith(SUITE)]
    assert {judged(drift).runs[number].verdict for number in range(DRIFT)} == {"PASS"}
    assert len(reports) == DRIFT


def turned(one: Path, other: Path) -> tuple[int, int]:
    before, after = (
        [bool(its.right) for its in read_samples(run / "compressed" / "samples-boolq.jsonl")] for run in (one, other)
    )
    pairs = list(zip(before, after, strict=True))
    return pairs.count((True, False)), pairs.count((False, True))


def test_two_runs_side_by_side(drift: Path, command: Command) -> None:
    nights = sorted(path for path in drift.iterdir() if path.name.endswith(SUITE))
    code, said = command("compare", nights[BEGUN - 1], nights[BEGUN])
    assert code == 0
    assert "SGLang: sglang: 0.5.23 -> 0.5.24" in said
    lost, won = turned(nights[BEGUN - 1], nights[BEGUN])
    assert lost - won > 10
    assert f"boolq compressed: {lost} lost, {won} won of 1314" in said
    assert re.search(r"  lost: question (\d+) \(document \1\): '(yes|no)' -> '(yes|no)', right is '\2'", said)
    code, said = command("compare", nights[0], nights[0])
    assert "what they depend on: no difference" in said
    assert "boolq compressed: 0 lost, 0 won of 1314" in said


def test_what_was_pruned_is_compared_by_what_the_memory_holds(drift: Path, tmp_path: Path, command: Command) -> None:
    nights = sorted(path for path in drift.iterdir() if path.name.endswith(SUITE))
    judged(drift)
    copy = tmp_path / nights[BEGUN].name
    shutil.copytree(nights[BEGUN], copy)
    shutil.rmtree(copy / "compressed")
    shutil.rmtree(copy / "baseline")
    _, said = command("compare", nights[BEGUN - 1], copy)
    lost, won = turned(nights[BEGUN - 1], nights[BEGUN])
    assert f"boolq compressed: {lost} lost, {won} won of 1314" in said
    assert re.search(r"  lost: question (\d+) \(document \1\): '(yes|no)' -> not kept, right is '\2'", said)


def test_the_database_is_no_only_copy(drift: Path) -> None:
    before = judged(drift)
    (drift / FILE).unlink()
    after = judged(drift)
    assert after == before


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


def test_no_runs_is_an_error_that_says_what_makes_one(tmp_path: Path, command: Command) -> None:
    code, said = command("history", "--reports", tmp_path / "reports")
    assert code == 3
    assert "`nox -s accuracy` makes one" in said


LOST = range(36)


def test_a_failed_night_never_becomes_the_reference(tmp_path: Path) -> None:
    """Night 1 fails by its own margin: night 2 is held against night 0, and finds the same harm."""
    write_night(tmp_path, 0)
    write_night(tmp_path, 1, lost=range(60))
    write_night(tmp_path, 2, lost=LOST)
    found = judged(tmp_path / "reports")
    assert [run.verdict for run in found.runs] == ["PASS", "FAIL", "FAIL"]
    alarm = alarm_of(found)
    assert alarm.reference.run_id == found.runs[0].run_id
    assert alarm.since.run_id == found.runs[1].run_id
    # A night that was not measured says nothing, and the next is judged as if it had not been.
    write_night(tmp_path, 3, errors=["the server died"])
    assert alarm_of(judged(tmp_path / "reports")) == alarm


def test_what_a_person_accepts_is_the_new_normal_and_says_why(tmp_path: Path, command: Command) -> None:
    nights = [write_night(tmp_path, night, lost=LOST if night > 2 else ()) for night in range(5)]
    reports = tmp_path / "reports"
    assert judged(reports).verdict is Verdict.FAIL
    code, said = command(
        "history", "--reports", reports, "--no-plot", "--accept", nights[3].path, "--why", "new codec"
    )
    assert (code, "WORSE" in said) == (0, False)
    assert judged(reports).runs[3].accepted == f"{datetime.now(tz=UTC):%Y-%m-%d}: new codec"
    # It is kept in the run's folder, so that a database made anew knows it too.
    (reports / FILE).unlink()
    assert judged(reports).verdict is Verdict.PASS
    code, said = command("history", "--reports", reports, "--accept", nights[3].path)
    assert code == 3
    assert "go together" in said


def test_a_run_of_other_questions_or_another_codec_between_two_nights_is_no_night(tmp_path: Path) -> None:
    write_night(tmp_path, 0)
    write_night(tmp_path, 1, questions=64, lost=range(30))
    write_night(tmp_path, 2)
    found = judged(tmp_path / "reports")
    assert [len(chart.nights) for chart in found.charts] == [2, 2]
    assert found.verdict is Verdict.PASS
    other = write_night(tmp_path, 3, lost=LOST)
    other.memory.unlink(missing_ok=True)
    text = other.plan.read_text()
    assert '"HARNESS_PLUGIN_CODEC": "int8_token"' in text
    other.plan.write_text(
        text.replace('"HARNESS_PLUGIN_CODEC": "int8_token"', '"HARNESS_PLUGIN_CODEC": "int4_group32"')
    )
    found = judged(tmp_path / "reports")
    assert (len(found.runs), found.others, found.verdict) == (1, 3, Verdict.REPORTED)


def test_what_no_threshold_judges_is_watched_and_fails_nobody(tmp_path: Path, command: Command) -> None:
    for night in range(4):
        folder = write_night(tmp_path, night, lost=LOST if night == 3 else (), report=False)
        plan = read_record(folder.plan, Plan)
        row = plan.tasks["boolq"].threshold.model_copy(update={"max_drop": None, "report_only": True})
        task = plan.tasks["boolq"].model_copy(update={"threshold": row})
        write_record(folder.plan, plan.model_copy(update={"tasks": {"boolq": task}}))
    code, said = command("history", "--reports", tmp_path / "reports", "--no-plot")
    assert code == 0
    assert "WORSE (watched only: no threshold judges it) boolq compressed" in said


def test_nothing_known_that_changed_is_said_so(tmp_path: Path, command: Command) -> None:
    for night in range(4):
        write_night(tmp_path, night, lost=LOST if night == 3 else ())
    code, said = command("history", "--reports", tmp_path / "reports", "--no-plot")
    assert code == 1
    assert "suspect: nothing that a run's fingerprint knows changed" in said


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


def test_words_of_a_runs_folder_steer_no_terminal(tmp_path: Path, command: Command) -> None:
    write_night(tmp_path, 0, facts={"sglang": "0.5.23"})
    write_night(tmp_path, 1, lost=LOST, facts={"sglang": "\x1b[2J[bold]0.5.24\n::error::x"})
    _, said = command("history", "--reports", tmp_path / "reports", "--no-plot")
    assert "0.5.23 -> ?[bold]0.5.24" in said
    assert "\x1b[2J" not in said
    assert "\n::error::" not in said


def test_an_upgrade_that_moves_the_predictions_is_seen_the_first_night(tmp_path: Path, command: Command) -> None:
    """No answer turns; of each fixed text the divergence doubles, as by a codec that rounds otherwise."""
    for night in range(3):
        write_night(tmp_path, night, likely=0.65)
    write_night(tmp_path, 3, likely=0.68, facts={"plugin": "b" * 64})
    code, said = command("history", "--reports", tmp_path / "reports", "--no-plot")
    assert code == 1
    assert "WORSE fidelity kl: worse by 0.0088 nats a token since 20260304-011700-smollm2-cpu" in said
    assert "suspect: harness: plugin: not there -> bbbbbbbbbbbb" in said
    assert "newly worse: 64 texts: " in said


def test_a_night_that_was_not_measured_says_what_changed_since_the_last_good_one(
    tmp_path: Path, command: Command
) -> None:
    """An ERROR is no point on a chart; what it is due to is asked all the same."""
    good = write_night(tmp_path, 0, facts={"package numpy": "1", "package zstandard": "1", "packages": "all 2: aa"})
    new = {"package numpy": "2", "package zstandard": "1", "packages": "all 2: bb", "sglang": "0.5.24"}
    bad = write_night(tmp_path, 1, facts=new, errors=["compressed: compression did not run right"])
    code, said = command("history", "--reports", tmp_path / "reports")
    assert code == 0
    assert f"ERROR newest run {bad.path.name}: compressed: compression did not run right" in said
    assert [
        line.strip() for line in said.split(f"since the last good run, {good.path.name}:")[1].splitlines()[1:3]
    ] == [
        "SGLang: sglang: 0.5.23 -> 0.5.24",
        # The hash of all packages says nothing beside the one that changed.
        "packages beside SGLang: package numpy: 1 -> 2",
    ]
    assert re.search(r"2 runs: 1 (PASS|INCONCLUSIVE), 1 ERROR", said)


def test_a_fact_that_runs_of_before_did_not_keep_is_no_change() -> None:
    before, after = {"packages": "all 2: aa"}, {"packages": "all 2: aa", "package numpy": "2"}
    assert differences(before, after) == []


def test_files_that_changed_are_one_suspect_that_names_them(tmp_path: Path) -> None:
    names = [f"harness judge/file{number}.py" for number in range(9)]
    write_night(tmp_path, 0, facts=dict.fromkeys(names, "a" * 64))
    write_night(tmp_path, 1, lost=LOST, facts={**dict.fromkeys(names[:-1], "b" * 64), names[-1]: "a" * 64})
    [change] = alarm_of(judged(tmp_path / "reports")).changes
    assert str(change.what).startswith("harness: harness: other files: judge/file0.py, judge/file1.py")
    assert str(change.what).endswith("judge/file4.py and 3 more")


def test_thresholds_that_changed_are_suspects_by_name(tmp_path: Path) -> None:
    write_night(tmp_path, 0)
    file = tmp_path / "thresholds.yaml"
    file.write_text(file.read_text().replace("max_drop: 0.1", "max_drop: 0.2"))
    write_night(tmp_path, 1, lost=LOST)
    [change] = alarm_of(judged(tmp_path / "reports")).changes
    assert str(change.what) == "thresholds: threshold boolq.max_drop: 0.1 -> 0.2"
