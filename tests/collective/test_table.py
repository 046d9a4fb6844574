"""The table people read: its figures, and what it says where there are none."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harness.collective import simulate_all_reduce
from harness.collective.activations import Activation, save_activations
from suites import publish
from suites.numerics import table
from suites.numerics.cases.case import Case
from suites.numerics.figures import CAPTURE_COMMAND, SHAPE, Figures, measure
from suites.numerics.table import main, sections
from suites.numerics.trial.subject import Subject
from suites.ranks.pool import Pool

ROOT = Path(__file__).resolve().parents[2]

NOWHERE = Path("nowhere.pt")

SUBJECTS = [Subject(), Subject(codec="none", algorithm="two_shot")]


@pytest.fixture(scope="module")
def figures(pool: Pool) -> Figures:
    return measure(pool, SUBJECTS, [2, 4], rounds=1, captured=NOWHERE)


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(publish, "REPORTS", tmp_path / "reports")
    return tmp_path / "reports" / "latest-numerics"


def captured(folder: Path) -> Path:
    generator = torch.Generator().manual_seed(1)
    calls = [
        Activation(layer=layer, site=site, values=torch.randn(2, 9, 64, generator=generator).bfloat16())
        for layer in (0, 1)
        for site in ("attention", "ffn")
    ]
    save_activations(folder / "real.pt", calls)
    return folder / "real.pt"


def text(figures: Figures, cores: int = 2) -> str:
    return "\n\n".join(section.markdown() for section in sections(figures, cores=cores))


def test_the_figures_are_those_of_the_textbook(figures: Figures) -> None:
    """INT8 per token, one-shot, computed here from its definition alone."""
    [found] = [one for one in figures.accuracy if (one.codec, one.ranks, one.data) == ("int8_token", 4, "gaussian")]
    x = Case(ranks=4, shape=SHAPE, seed=4).inputs()
    steps = x.double().abs().amax(dim=-1, keepdim=True) / 127
    exact = x.double().sum(dim=0)
    error = simulate_all_reduce(x).double() - exact
    bound = steps.sum(dim=0) / 2 + 2.0**-8 * (exact.abs() + steps.sum(dim=0) / 2)
    assert found.over_bound == pytest.approx((error.abs() / bound).max().item(), rel=1e-3)
    signal = exact.square().sum()
    assert found.sqnr_db == pytest.approx((10 * (signal / error.square().sum()).log10()).item(), abs=1e-9)
    output = exact.frexp().exponent.double().sub(8).exp2().square() / 12
    predicted = 10 * (signal / (steps.square() / 12 + output / 4).sum(dim=0).expand_as(exact).sum()).log10()
    assert found.predicted_db == pytest.approx(predicted.item(), abs=0.03)


def test_bytes_are_counted_and_compared_with_a_ring(figures: Figures) -> None:
    found = {(one.codec, one.ranks): one for one in figures.cost}
    tokens, width = SHAPE
    assert found["int8_token", 4].sent == 3 * tokens * (width + 4)
    assert found["int8_token", 4].over_ring == 3 * (width + 4) / (2 * 3 / 4 * 2 * width)
    assert found["none", 2].over_ring == 1
    assert all(one.over_plain is not None and one.over_plain > 0 for one in figures.cost)


def test_every_cell_is_a_figure(figures: Figures) -> None:
    lines = text(figures).splitlines()
    for data in ("gaussian", "spikes:100", "cancellation"):
        start = lines.index(f"## {table.TITLES[data]}")
        [row] = [line for line in lines[start : start + 8] if line.startswith("| int8_token")]
        found = {one.ranks: one for one in figures.accuracy if (one.codec, one.data) == ("int8_token", data)}
        numbers = [float(number) for number in re.findall(r"[-+]?\d+\.\d+", row)]
        expected = [
            number
            for ranks in (2, 4)
            for one in [found[ranks]]
            for number in (one.over_bound, one.sqnr_db, one.sqnr_db - one.predicted_db)
        ]
        assert numbers == pytest.approx(expected, abs=0.051)


def test_ranks_beyond_the_cores_are_named(figures: Figures) -> None:
    assert "N=4: more ranks than the 2 cores" in text(figures, cores=2)
    assert "more ranks than" not in text(figures, cores=4)


def test_where_nothing_was_captured_the_table_says_so_and_how(figures: Figures) -> None:
    assert not figures.captured
    [real] = [section for section in sections(figures) if section.title.startswith("Real")]
    assert {cell.text for row in real.rows for cell in row} == {"all", "not captured"}
    assert CAPTURE_COMMAND in real.words


def test_real_activations_are_judged_layer_by_layer(pool: Pool, tmp_path: Path) -> None:
    file = captured(tmp_path)
    measured = measure(pool, SUBJECTS, [2, 4], rounds=0, captured=file)
    assert {(one.layer, one.data, one.ranks) for one in measured.real} == {
        (layer, site, 2) for layer in (0, 1) for site in ("attention", "ffn")
    }
    assert not measured.beyond_bound
    [real] = [section for section in sections(measured) if section.title.startswith("Real")]
    assert "not captured" not in real.markdown()
    [row] = [cells for cells in real.rows if cells[0].text == "int8_token"]
    ffn = [one for one in measured.real if (one.codec, one.data) == ("int8_token", "ffn")]
    worst = max(ffn, key=lambda one: one.over_bound)
    assert [cell.text for cell in row[5:7]] == [f"{worst.over_bound:.2f}", str(worst.layer)]
    assert "N=2 time" not in text(measured).split("## Bytes, against a plain all-reduce")[1]


def test_activations_of_two_ranks_are_not_made_up_for_more(pool: Pool, tmp_path: Path) -> None:
    measured = measure(pool, SUBJECTS, [4], rounds=0, captured=captured(tmp_path))
    assert measured.real == ()
    assert "not captured for these rank counts" in text(measured)


def test_a_file_of_something_else_is_refused(pool: Pool, tmp_path: Path) -> None:
    torch.save({"weights": torch.ones(2)}, tmp_path / "real.pt")
    with pytest.raises(ValueError, match=r"real\.pt: expected a list of captured calls"):
        measure(pool, SUBJECTS, [2], rounds=0, captured=tmp_path / "real.pt")


def test_the_command_writes_what_it_prints(reports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--codec", "int8_token", "--ranks", "2", "--rounds", "0", "--activations", "nowhere.pt"]) == 0
    written = (reports / "report.md").read_text(encoding="utf-8")
    assert written in capsys.readouterr().out
    record = json.loads((reports / "report.json").read_text(encoding="utf-8"))["numerics"]
    assert record["captured"] is False
    assert {(one["codec"], one["algorithm"], one["ranks"]) for one in record["accuracy"]} == {
        ("int8_token", "one_shot", 2),
        ("int8_token", "two_shot", 2),
    }
    for one in record["accuracy"]:
        assert f"{one['over_bound']:.2f}" in written


def test_an_error_beyond_its_bound_stands_out_and_ends_with_1(reports: Path) -> None:
    implementation = "suites.numerics.planted.bugs.rounding:round_truncates"
    assert main(["--impl", implementation, "--ranks", "2", "--rounds", "1"]) == 1
    written = (reports / "report.md").read_text(encoding="utf-8")
    assert implementation in written
    worst = float(re.findall(r"\| int8_token \| one_shot  \| ([\d.]+)", written)[0])
    assert worst > 1


def test_an_implementation_that_raises_is_told_with_its_case(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--impl", "operator:not_", "--ranks", "2"]) == 1
    said = capsys.readouterr().err
    assert "the implementation failed" in said
    assert "ranks=2 shape=32x1024 dtype=bf16 data=gaussian" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--codec", "zip"], "no codec is named 'zip'"),
        (["--impl", "nothing"], "package.module:function"),
        (["--impl", "no_such_module:f"], "No module named 'no_such_module'"),
        (["--ranks", "two"], "'two'"),
    ],
)
def test_a_mistaken_option_is_refused(options: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(options)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(("processes", "timed"), [("-n0", True), ("-n2", False)])
def test_the_suite_ends_with_the_table(tmp_path: Path, processes: str, *, timed: bool) -> None:
    """Also where it is shared out over processes, of which one has measured it, beside others: without times."""
    options = f"--impl suites.numerics.planted.correct:plain_steps --ranks 2 -k test_table -q {processes}"
    program = (
        "import pathlib, sys, pytest, suites.publish as publish; publish.REPORTS = pathlib.Path(sys.argv[1]); "
        "sys.exit(pytest.main(['suites/numerics', *sys.argv[2:]]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), *options.split()],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "latest-numerics" / "report.md").read_text(encoding="utf-8") in done.stdout
    assert "# Compressed all-reduce: suites.numerics.planted.correct:plain_steps" in done.stdout
    assert ("N=2 time" in done.stdout) is timed
