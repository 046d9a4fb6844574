"""A memory of 2,000 runs is read and judged, and how long that took is told; nothing here fails for time."""

import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.history.record import RECORD_VERSION, Figure, Questions, RunMemory, Series
from harness.history.store import opened
from harness.history.trend import trend

RUNS, SIZES = 2000, {"boolq": 3270, "gsm8k": 1314}


def memory_of(number: int, rng: np.random.Generator, chances: dict[str, NDArray[np.float64]]) -> RunMemory:
    answers = [
        Series(
            task=task,
            name=arm,
            questions=task,
            judged=True,
            values=(rng.random(len(right)) < right).astype(float).tolist(),
        )
        for task, right in chances.items()
        for arm in ("baseline", "compressed")
    ]
    texts = [
        Series(task="fidelity", name=name, questions="texts", judged=True, values=(rng.random(155) / 1e4).tolist())
        for name in ("kl", "loglikelihood")
    ]
    figures = [
        Figure(task=task, name=name, value=0.5)
        for task in (*chances, "fidelity")
        for name in ("baseline", "compressed", "change", "flips", "answers changed")
    ]
    return RunMemory(
        version=RECORD_VERSION,
        run_id=f"run {number:05d}",
        suite="suite",
        model="model",
        device="cpu",
        variant="int8_token one_shot",
        started=(datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=number)).isoformat(),
        verdict="PASS",
        reasons=["it was no worse"],
        repeat="nox",
        facts={f"fact {fact}": "x" * 100 for fact in range(40)},
        figures=figures,
        series=[*answers, *texts],
        questions={
            name: Questions(ids=[f"{name} {question:064d}" for question in range(size)], clusters=None)
            for name, size in {**SIZES, "texts": 155}.items()
        }
        if number == 0
        else {},
    )


@pytest.mark.slow
def test_two_thousand_runs_are_read_and_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    chances = {
        task: np.where(rng.random(size) < 0.04, 0.5, (rng.random(size) < 0.8).astype(float))
        for task, size in SIZES.items()
    }
    with opened(tmp_path) as store:
        for number in range(RUNS):
            store.add(f"{number:05d}", memory_of(number, rng, chances), stamp=1, accepted=None)
    began, worked = time.monotonic(), time.process_time()
    with opened(tmp_path) as store:
        found = trend(store, "suite")
    seconds, of_work = time.monotonic() - began, time.process_time() - worked
    assert found is not None
    assert len(found.runs) == RUNS
    assert [len(chart.nights) for chart in found.charts] == [RUNS] * 6
    with capsys.disabled():
        said = f"{RUNS} runs of {sum(SIZES.values())} questions read and judged in {seconds:.2f} s"
        sys.stdout.write(f"\n{said}, {of_work:.2f} s of work\n")
