"""The end of a night: the mail's text, causes that stay the same, room that is made, and issues."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harness.history.night import Cause, NightReport, Part, build_night, summary
from harness.history.prune import prune
from harness.history.store import opened
from harness.history.sync import accept, sync
from harness.places import ROOT
from harness.plan.plan import Plan
from harness.records.run import read_record, write_record
from harness.records.run_folder import RunFolder
from tests.history.nights import FIRST, LOST, SUITE, Command, write_night

End = Callable[..., tuple[int, str]]


@pytest.fixture
def end(command: Command) -> End:
    def end(reports: Path, began: datetime, *arguments: str) -> tuple[int, str]:
        return command("night", f"--reports={reports}", f"--began={began:%Y-%m-%dT%H:%M:%S}", *arguments)

    return end


def night_of(reports: Path, number: int, **codes: int) -> NightReport:
    with opened(reports) as store:
        sync(store, reports)
        return build_night(store, reports, FIRST + timedelta(days=number), codes)


def test_a_green_night_says_so_in_its_first_line(tmp_path: Path, end: End) -> None:
    for number in range(2):
        write_night(tmp_path, number)
    reports = tmp_path / "reports"
    (reports / "latest").symlink_to(f"20260302-011700-{SUITE}")
    code, said = end(reports, FIRST + timedelta(days=1), "--part=numerics=0", f"--part={SUITE}=0")
    assert code == 0
    text = (reports / "latest" / "summary.txt").read_text()
    assert text in said
    assert text.splitlines()[0] == "nightly 2026-03-02 PASS"
    lines = [line.split() for line in text.splitlines() if line.startswith("PASS")]
    assert lines == [
        ["PASS", "numerics"],
        ["PASS", SUITE, str(reports / f"20260302-011700-{SUITE}" / "report.html")],
        ["PASS", "history", "of", SUITE],
    ]
    assert (reports / f"history-{SUITE}.svg").exists()
    assert read_record(reports / "latest" / "night.json", NightReport).causes == []


def test_what_got_worse_makes_a_night_red_that_passed_by_itself(tmp_path: Path, end: End) -> None:
    """A wide margin: the run passes, and 36 answers fewer than the night before are told first."""
    for number in range(4):
        write_night(tmp_path, number, lost=LOST if number == 3 else (), wrong=LOST if number == 3 else ())
    code, said = end(tmp_path / "reports", FIRST + timedelta(days=3), f"--part={SUITE}=0")
    assert code == 1
    first, *_ = said.splitlines()
    assert first.startswith(f"nightly 2026-03-04 FAIL: history of {SUITE}: boolq ")
    assert "worse by 28.1 points since 20260304-011700" in said
    assert "suspect: nothing that a run's fingerprint knows changed" in said


def test_the_cause_comes_first_and_what_changed_is_told(tmp_path: Path) -> None:
    write_night(tmp_path, 0)
    write_night(tmp_path, 1, lost=range(60), facts={"sglang": "0.5.24"})
    night = night_of(tmp_path / "reports", 1, numerics=1, **{SUITE: 1})
    text = summary(night)
    assert night.verdict == "FAIL"
    assert text.startswith("nightly 2026-03-02 FAIL: numerics: numerics: FAIL, exit code 1\n")
    assert f"{SUITE}: boolq: accuracy changed by -46.9 points" in text
    changed = text.index(f"{SUITE}: changed since its last good run:")
    assert "    SGLang: sglang: 0.5.23 -> 0.5.24" in text[changed:]
    assert max(map(len, text.splitlines())) < 600


def test_an_error_has_one_cause_and_a_suite_without_a_run_is_told(tmp_path: Path) -> None:
    write_night(tmp_path, 0)
    write_night(
        tmp_path, 1, errors=["baseline server died: exit code 9, pid 4711", "not finished for that reason: boolq"]
    )
    night = night_of(tmp_path / "reports", 1, **{SUITE: 3, "another": 3})
    assert [cause.text for cause in night.causes] == [
        "baseline server died: exit code 9, pid 4711",
        "another: ERROR, exit code 3",
    ]
    assert night.verdict == "ERROR"
    # Yesterday's run is none of tonight's.
    assert night_of(tmp_path / "reports", 2, **{SUITE: 3}).causes[0].text == f"{SUITE}: ERROR, exit code 3"


def test_the_same_cause_has_the_same_key_on_another_night(tmp_path: Path) -> None:
    for number, lost in enumerate((0, 60, 61)):
        write_night(tmp_path, number, lost=range(lost))
    keys = [{cause.key for cause in night_of(tmp_path / "reports", number, **{SUITE: 1}).causes} for number in (1, 2)]
    assert keys[0] & keys[1] == keys[0]
    assert any(key.endswith("since 20260302-011700-smollm2-cpu") for key in keys[1])


def whole(folder: RunFolder) -> bool:
    return all((folder.path / name).is_dir() for name in ("baseline", "compressed"))


def pruned(reports: Path, keep: int) -> list[Path]:
    with opened(reports) as store:
        sync(store, reports)
        return prune(store, reports, keep)


def test_old_good_runs_lose_their_arms_and_nothing_else(tmp_path: Path) -> None:
    runs = [write_night(tmp_path, number, lost=range(60) if number == 1 else ()) for number in range(6)]
    accept(runs[2], "new normal", datetime.now(tz=UTC).date())
    reports = tmp_path / "reports"
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (runs[3].path / "tasks").symlink_to(outside)
    assert pruned(reports, 2) == [runs[0].path, runs[3].path]
    assert [whole(run) for run in runs] == [False, True, True, False, True, True]
    assert all(run.report.exists() and run.markdown.exists() and run.memory.exists() for run in runs)
    assert (outside / "kept").exists()
    # The memory is what it was, and can still be made anew.
    (reports / "history.sqlite").unlink()
    with opened(reports) as store:
        assert sync(store, reports) == []
        assert len(store.runs()) == 6
        assert len(store.measured(SUITE)) == 12
    assert pruned(reports, 2) == []


def test_a_plan_that_names_other_folders_prunes_none_of_them(tmp_path: Path) -> None:
    runs = [write_night(tmp_path, number) for number in range(3)]
    outside = tmp_path / "outside"
    outside.mkdir()
    plan = read_record(runs[0].plan, Plan)
    pruned(tmp_path / "reports", 3)
    names = ("../../outside", str(outside), "..", ".", "")
    arms = [plan.arms[0].model_copy(update={"name": name}) for name in names]
    write_record(runs[0].plan, plan.model_copy(update={"arms": [*plan.arms, *arms]}))
    pruned(tmp_path / "reports", 1)
    assert outside.is_dir()
    assert [whole(run) for run in runs] == [False, False, True]
    assert runs[0].path.is_dir()


def test_without_keep_nothing_is_pruned(tmp_path: Path, end: End) -> None:
    runs = [write_night(tmp_path, number) for number in range(3)]
    end(tmp_path / "reports", FIRST, f"--part={SUITE}=0")
    assert all(whole(run) for run in runs)
    _, said = end(tmp_path / "reports", FIRST, f"--part={SUITE}=0", "--keep=1")
    assert [whole(run) for run in runs] == [False, False, True]
    assert f"made smaller: {runs[0].path}" in said


# A stand-in for GitHub's command line that keeps its issues in a file.
GH = """#!{python}
import json, pathlib, sys
file = pathlib.Path({file!r})
issues = json.loads(file.read_text())
given = sys.argv[1:]
if given[:2] == ["issue", "list"]:
    assert given[given.index("--state") + 1] == "open"
    print(json.dumps([issue for issue in issues if issue["open"]]))
elif given[:2] == ["issue", "create"]:
    body = sys.stdin.read()
    issues.append(dict(number=len(issues) + 1, title=given[given.index("--title") + 1], body=body, open=True))
    print(f"https://host/issues/{{len(issues)}}")
elif given[:2] == ["issue", "close"]:
    issues[int(given[2]) - 1]["open"] = False
elif given[:2] != ["label", "create"]:
    sys.exit(f"unknown: {{given}}")
file.write_text(json.dumps(issues))
"""


class Issues:
    """Settles nights against the stand-in, as the workflow does: by an interpreter that has nothing installed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "issues.json"
        self.file.write_text("[]")
        gh = folder / "bin" / "gh"
        gh.parent.mkdir()
        gh.write_text(GH.format(python=sys.executable, file=str(self.file)))
        gh.chmod(0o755)

    def settle(self, night: NightReport) -> str:
        file = self.folder / "night.json"
        write_record(file, night)
        env = {**os.environ, "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
        # Nothing but the standard library, as on the runner.
        program = f"import runpy, sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv = ['issues', *sys.argv[1:]]; "
        program += "runpy.run_module('harness.history.issues', run_name='__main__')"
        command = [sys.executable, "-I", "-S", "-c", program, str(file), "--page", "https://host/run"]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        return done.stdout

    @property
    def open(self) -> list[str]:
        return [issue["title"] for issue in json.loads(self.file.read_text()) if issue["open"]]


def a_night(**parts: tuple[str, ...]) -> NightReport:
    """Return a night of parts: a verdict and what is wrong."""
    made = [
        Part(
            name=name,
            verdict=verdict,
            causes=[Cause(key=f"{name}: {text}", part=name, text=text, details=["a detail"]) for text in texts],
            changed=[],
            page="",
        )
        for name, (verdict, *texts) in parts.items()
    ]
    return NightReport(date="2026-03-04", verdict="FAIL", parts=made)


def test_an_issue_a_cause_is_opened_once_and_closed_by_a_green_night(tmp_path: Path) -> None:
    issues = Issues(tmp_path)
    red = a_night(a=("FAIL", "boolq dropped", "gsm8k dropped"), b=("PASS",))
    issues.settle(red)
    assert issues.open == ["nightly: a: boolq dropped", "nightly: a: gsm8k dropped"]
    said = issues.settle(a_night(a=("FAIL", "boolq dropped"), b=("ERROR", "the server died")))
    assert "#1 is still open: a" in said
    # Nothing is known of a part that is not green, so its other issue stays.
    assert len(issues.open) == 3
    issues.settle(a_night(a=("PASS",), b=("ERROR", "the server died")))
    assert issues.open == ["nightly: b: the server died"]
    issues.settle(a_night(b=("PASS",)))
    assert issues.open == []
    issues.settle(red)
    assert len(issues.open) == 2


def test_what_a_model_says_cannot_get_out_of_an_issues_block_or_close_another(tmp_path: Path) -> None:
    issues = Issues(tmp_path)
    hostile = "x\n```\n@everyone <!-- nightly-cause: 0000000000000000 b --> `; gh issue close 1\n" + "y" * 100_000
    issues.settle(a_night(a=("FAIL", hostile)))
    [issue] = json.loads(issues.file.read_text())
    assert len(issue["title"]) <= 200
    assert len(issue["body"]) < 65_536
    assert issue["body"].count("```") == 2
    block = issue["body"].split("```")[1]
    assert "@everyone" in block


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_workflow_gives_rights_to_write_to_one_job_alone() -> None:
    text = (ROOT / ".github" / "workflows" / "nightly.yml").read_text()
    assert text.count(": write") == 1
    issues = text.split("\n  issues:\n")[1]
    assert "issues: write" in issues
    assert "nox" not in issues
    pinned = [line.split("uses: ")[1] for line in text.splitlines() if "uses: " in line]
    assert all(len(use.split("@")[1].split(" ")[0]) == 40 for use in pinned)
