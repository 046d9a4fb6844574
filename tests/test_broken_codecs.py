"""Codecs broken on purpose, behind SGLang's flag in real servers: the run must end, early, with the right reason."""

import os
from pathlib import Path
from typing import Any

import pytest

from harness.config.load import load
from harness.config.suite import Compression
from harness.plan.make import make_plan
from harness.plan.options import Options
from harness.run import pipeline
from harness.run.display import Display

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.usefixtures("no_strays")]
CODECS = Path(__file__).resolve().parent / "broken_codecs"


# For each: what the first reason says.
# Both ranks serve the same bits, and see the same: it is told once.
NOT_RIGHT = "ranks 0, 1, "
BEYOND = "elements are further from the exact sum than int8_token (one_shot) allows"
REASONS = {
    "one_scale_off": (f"{NOT_RIGHT}layer 0, attention: ", BEYOND),
    "rank_missing": (f"{NOT_RIGHT}layer 7, attention: ", BEYOND),
    "decode_too": ("ranks 0, 1 compressed 60 times in a pass of mode DECODE", "compression is not proven: "),
    "plain": (f"{NOT_RIGHT}layer 0, attention, token 0: an SQNR of ", "too good, so that something else ran"),
}


# What the others show is also seen without a server: in tests/server_side/test_live_check.py.
IN_CI = ("rank_missing", "decode_too")


@pytest.mark.parametrize(
    "broken", [pytest.param(name, marks=() if name in IN_CI else pytest.mark.campaign) for name in REASONS]
)
def test_a_broken_codec_is_an_error_right_after_the_known_answer(
    broken: str, tmp_path: Path, server_python: Path, display: Display, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, reason = REASONS[broken]
    monkeypatch.setenv("PYTHONPATH", str(CODECS))
    suite, thresholds = load("smollm2-cpu")
    under_test = Compression(codec=f"{broken}:all_reduce", claims="int8_token")
    options = Options(
        suite="smollm2-cpu",
        server_python=server_python,
        plugin_path=Path(os.environ["HARNESS_PLUGIN_PATH"]),
        reports=tmp_path / "reports",
        limit=1,
    )
    changed = suite.model_copy(update={"compression": under_test, "fidelity": None})
    manifest: dict[str, Any] = {"source": "none", "origin": "none"}
    plan = make_plan(changed, thresholds, options, data=tmp_path, data_manifest=manifest, repeat="-")
    # The compressed arm first: the other would cost a minute and tell nothing.
    plan = plan.model_copy(update={"arms": [plan.arm("compressed"), plan.arm("baseline")], "tasks": {}})
    report = pipeline.run(plan, display)
    assert (report.verdict, report.exit_code) == ("ERROR", 3)
    assert report.reasons[0].startswith("compressed: compression "), report.reasons
    assert start in report.reasons[0]
    assert reason in report.reasons[0]
    assert f"implementation under test: {broken}:all_reduce, which claims to be int8_token (one_shot)" in report.notes
    assert not (Path(plan.folder) / "baseline").exists()
