"""What the harness sees with real servers: nothing between two baselines, a coarse codec, a finer one a tenth."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from harness.config.load import load
from harness.config.suite import Source
from harness.judge.run_warnings import shift_concern
from harness.plan.make import make_plan
from harness.plan.options import Options
from harness.prepare.data import prepare
from harness.report.model import Report
from harness.run import pipeline
from harness.run.display import Display

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.campaign, pytest.mark.usefixtures("no_strays")]
QUESTIONS = 64


@pytest.fixture(scope="module")
def run(server_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Report]:
    """Run the default suite's BoolQ and its texts with a codec."""
    folder = tmp_path_factory.mktemp("sensitivity")
    manifest = prepare(Source.PACKAGED, folder / "data")

    def run_with(
        codec: str, *, algorithm: str = "one_shot", noise_floor: bool = False, reuse_baseline: Path | None = None
    ) -> Report:
        suite, thresholds = load("smollm2-cpu")
        compression = suite.compression.model_copy(update={"codec": codec, "algorithm": algorithm})
        tasks = {"boolq": suite.tasks["boolq"]}
        options = Options(
            suite="smollm2-cpu",
            server_python=server_python,
            plugin_path=Path(os.environ["HARNESS_PLUGIN_PATH"]),
            reports=folder / codec / algorithm,
            limit=QUESTIONS,
            noise_floor=noise_floor,
            reuse_baseline=reuse_baseline,
        )
        plan = make_plan(
            suite.model_copy(update={"compression": compression, "tasks": tasks}),
            thresholds,
            options,
            data=folder / "data",
            data_manifest=manifest,
            repeat="-",
        )
        return pipeline.run(plan, Display(Console(width=160)))

    return run_with


@pytest.fixture(scope="module")
def coarse(run: Callable[..., Report]) -> Report:
    """INT8 with one scale a token, with the baseline a second time."""
    return run("int8_token", noise_floor=True)


@pytest.fixture(scope="module")
def fine(run: Callable[..., Report], coarse: Report) -> Report:
    """INT8 in groups of 64, against the same baseline."""
    folder = Path(coarse.rebuild.split()[-1])
    return run("int8_group64", reuse_baseline=folder)


def test_two_baselines_agree_in_every_answer_and_margin(coarse: Report) -> None:
    noise = coarse.tasks["boolq"].noise
    assert noise is not None
    assert (noise.answers_changed, noise.baseline_only, noise.compressed_only) == (0, 0, 0)
    assert noise.margin_shift is not None
    assert abs(noise.margin_shift.largest) < 1e-4
    assert coarse.fidelity is not None
    assert coarse.fidelity.noise is not None
    assert coarse.fidelity.noise.overall is not None
    assert coarse.fidelity.compressed.overall is not None
    assert coarse.fidelity.noise.overall.kl_percentiles["max"] < 1e-5 < coarse.fidelity.compressed.overall.kl.low
    ranks = {name: [rank.prefill_tokens for rank in arm.engagement.ranks] for name, arm in coarse.arms.items()}
    assert ranks["baseline"] == ranks["compressed"] == ranks["baseline-again"]


def test_one_scale_a_token_moves_far_which_is_known_and_no_news(coarse: Report) -> None:
    shift = coarse.tasks["boolq"].paired.margin_shift
    assert shift is not None
    assert shift.rms_low > 0.25
    assert shift_concern("boolq", shift, None) is not None
    assert coarse.fidelity is not None
    assert (coarse.verdict, coarse.fidelity.verdict, coarse.warnings) == ("PASS", "PASS", [])
    assert coarse.fidelity.reasons[-1].startswith("fidelity: no worse than known: int8_token, one_shot")


def test_a_second_quantization_is_worse_than_known(run: Callable[..., Report], coarse: Report) -> None:
    report = run("int8_token", algorithm="two_shot", reuse_baseline=Path(coarse.rebuild.split()[-1]))
    assert report.verdict == "FAIL"
    assert "fidelity: mean KL divergence" in report.reasons[0]


def test_groups_of_64_move_a_tenth_of_it_and_are_not(coarse: Report, fine: Report) -> None:
    one, other = (entry.tasks["boolq"].paired.margin_shift for entry in (coarse, fine))
    assert one is not None
    assert other is not None
    assert 0 < other.rms < one.rms / 3
    assert not any("margins of the answers" in text for text in fine.warnings)
    assert any("the baseline was not measured in this run" in note for note in fine.notes)
    for report in (coarse, fine):
        live = report.arms["compressed"].live_check
        assert live is not None
        assert live.faults == []
