"""How nights are judged: against which night, and what alarms."""

from datetime import UTC, datetime
from pathlib import Path

from harness.history.store import FILE
from harness.judge.verdict import Verdict
from harness.plan.plan import Plan
from harness.records.run import read_record, write_record
from tests.history.nights import LOST, Command, alarm_of, judged, write_night


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
