"""A fleet of real CPU servers, by the command that people use: two codecs over one baseline, a node and all."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.places import ROOT
from harness.safety import parse_line

# Three servers: `nox -s campaigns`.
pytestmark = [pytest.mark.campaign, pytest.mark.server, pytest.mark.usefixtures("server_python", "no_strays")]
LIMIT = 8
# A bound against hanging, and no claim of speed.
PATIENCE_S = 2400


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    place = tmp_path_factory.mktemp("fleet")
    matrix = place / "two.yaml"
    codecs = "codecs: [int8_token, int8_group64], noise_floor: false"
    matrix.write_text(f"runs:\n  - {{suites: [smollm2-cpu], limit: {LIMIT}, {codecs}}}\n")
    done = subprocess.run(
        [sys.executable, "-m", "harness", "fleet", str(matrix), f"--reports={place / 'reports'}"],
        cwd=ROOT,
        # Arms' scratch folders are where `no_strays` looks; Ray's own sockets need a short path.
        env={**os.environ, "TMPDIR": str(place), "RAY_TMPDIR": "/tmp", "RAY_memory_monitor_refresh_ms": "0"},  # noqa: S108
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return done, place / "reports"


def content(file: Path) -> Any:
    return json.loads(file.read_text())


def test_two_codecs_are_judged_against_one_baseline_with_the_verdict_of_single_runs(
    finished: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    done, reports = finished
    assert done.returncode == 2, done.stdout + done.stderr
    fleet = content(reports / "latest-fleet" / "fleet.json")
    assert (fleet["verdict"], len(fleet["runs"]), fleet["resume"]) == ("INCONCLUSIVE", 2, "")
    # Three servers for two runs.
    assert len(fleet["attempts"]) == 3
    kl = {}
    for run in fleet["runs"]:
        assert run["again"] == []
        report = content(reports / run["run_id"] / "report.json")
        assert report["reasons"] == ["fidelity: decided from 64 texts on, here 16: too little data"]
        assert {name: task["n"] for name, task in report["tasks"].items()} == {"boolq": LIMIT, "gsm8k": LIMIT}
        assert report["warnings"] == []
        assert all(arm["engagement"]["faults"] == [] for arm in report["arms"].values())
        kl[run["compression"]] = report["fidelity"]["compressed"]["overall"]["kl"]["mean"]
        assert (reports / run["run_id"] / "report.html").exists()
    # As of single runs: tests/test_end_to_end.py, docs/findings.md.
    assert 0.05 < kl["int8_token"] < 0.1
    assert 0.004 < kl["int8_group64"] < 0.012
    baselines = [reports / run["run_id"] / "baseline" / "arm.json" for run in fleet["runs"]]
    assert baselines[0].read_bytes() == baselines[1].read_bytes()


def test_the_runs_are_in_the_history_and_on_the_page(
    finished: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    done, reports = finished
    assert (reports / "history.sqlite").exists(), done.stderr
    page = (reports / "latest-fleet" / "fleet.html").read_text()
    for line in (reports / "latest-fleet" / "attempts.jsonl").read_text().splitlines():
        assert parse_line(line)["number"] == 1
    for run in content(reports / "latest-fleet" / "fleet.json")["runs"]:
        assert f"../{run['run_id']}/report.html" in page
        assert content(reports / run["run_id"] / "history.json")
