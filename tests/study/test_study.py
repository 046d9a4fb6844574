"""A small study for real: a server of virtual ranks, its policies switched, everything measured in it."""

import os
from pathlib import Path

import pytest

from harness.config.load import load
from harness.config.suite import Source
from harness.prepare.data import data_place, prepare
from harness.run.display import Display
from harness.study.build import build_study
from harness.study.make import StudyOptions, make_study
from harness.study.model import MeasuredPolicy
from harness.study.run import run_study

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.usefixtures("no_strays")]


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.study.store.cache", lambda: tmp_path / "cache")


def test_a_study_measures_recommends_and_is_repeated_from_what_it_measured(
    tmp_path: Path, server_python: Path, display: Display, capsys: pytest.CaptureFixture[str]
) -> None:
    suite, _ = load("smollm2-cpu")
    source = data_place(Source.PACKAGED)
    manifest = prepare(Source.PACKAGED, source)
    options = StudyOptions(
        suite="smollm2-cpu",
        server_python=server_python,
        plugin_path=Path(os.environ["HARNESS_PLUGIN_PATH"]),
        reports=tmp_path / "reports",
        codecs=["int8_token", "int8_hadamard", "quickreduce_int8:own"],
        texts=4,
        questions=4,
        sites=False,
    )
    plan = make_study(suite, options, data=source, data_manifest=manifest, repeat="-")
    report, folder = run_study(plan, display)
    assert report.noise["2"].mean == report.noise["2"].high == 0
    found: dict[str, MeasuredPolicy] = {policy.codec: policy for policy in report.candidates}
    assert found["int8_token"].kl.mean > 0.02
    assert found["int8_hadamard"].kl.mean < found["int8_token"].kl.mean / 10
    assert found["int8_token"].bytes_over_ring == pytest.approx((576 + 4) / (2 * 576))
    assert found["quickreduce_int8"].bytes_over_ring == pytest.approx(17 / 32, rel=0.1)
    assert report.recommended is not None
    assert report.recommended.policy == [{"codec": "int8_hadamard", "algorithm": "one_shot"}]
    assert all(policy.flips is not None and policy.flips.questions == 4 for policy in report.candidates)
    assert build_study(folder) == report
    assert (tmp_path / "reports" / "latest-study" / "policy.yaml").exists()
    assert "ready after" in capsys.readouterr().out
    # Again: nothing is measured twice, so that no server starts.
    again = make_study(suite, options, data=source, data_manifest=manifest, repeat="-")
    again = again.model_copy(update={"folder": again.folder + "-again"})
    repeated, _ = run_study(again, display)
    assert "ready after" not in capsys.readouterr().out
    assert repeated.candidates == report.candidates
