"""The model of the whole, from the committed measurements: what it must show, and how its tables say it."""

from pathlib import Path

import pytest

from harness.collective.candidate import ALGORITHMS
from harness.performance.links import LINKS, Link
from harness.performance.measurements import Run, from_json, to_json
from harness.performance.model import kernel_seconds
from suites.speed.gpu_kernels import as_text, of_copy
from suites.speed.model.__main__ import as_text as model_text
from suites.speed.model.formulas import SIZES, pays_from, ratio

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def run() -> Run:
    return from_json((ROOT / "docs/measurements/h100.json").read_text(encoding="utf-8"))


def test_a_run_is_read_as_it_was_written(run: Run) -> None:
    assert from_json(to_json(run)) == run


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.name)
def test_one_shot_pays_for_two_ranks_and_not_for_four(run: Run, link: Link) -> None:
    """The bytes say so: half of a ring's at N = 2, as many at N = 4, and the kernels come on top.

    Over NVLink an H100's kernels take more than half of the bytes saves.
    """
    assert (pays_from(run, link, 2, "one_shot") is None) == link.name.startswith("NVLink")
    assert pays_from(run, link, 4, "one_shot") is None
    assert ratio(run, link, 4, SIZES[-1], "one_shot") >= 1
    assert pays_from(run, link, 4, "two_shot") is not None


@pytest.mark.parametrize(("ranks", "one_shot"), [(2, 0.5), (4, 1.0), (8, 2.0), (16, 4.0)])
def test_on_a_slow_link_only_the_bytes_count(run: Run, ranks: int, one_shot: float) -> None:
    [slow] = [link for link in LINKS if link.name.startswith("PCIe")]
    assert ratio(run, slow, ranks, SIZES[-1], "one_shot") == pytest.approx(one_shot, rel=0.2)
    assert ratio(run, slow, ranks, SIZES[-1], "two_shot") == pytest.approx(0.5, rel=0.2)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_short_messages_never_pay(run: Run, algorithm: str) -> None:
    assert all(ratio(run, link, 4, SIZES[0], algorithm) > 1 for link in LINKS)


def test_an_operation_that_was_not_measured_is_refused(run: Run) -> None:
    with pytest.raises(ValueError, match="has no transpose of int8_token"):
        kernel_seconds(run, "transpose", 2, 1e6, "int8_token")


def cells(text: str, *begins: str) -> list[str]:
    """The cells of a table's row, after those that it begins with."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    [row] = [row for row in rows if row[: len(begins)] == list(begins)]
    return row[len(begins) :]


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.name)
def test_the_models_table_says_where_it_pays_and_where_it_never_does(run: Run, link: Link) -> None:
    two, four = (cells(model_text(run), link.name, ranks) for ranks in ("2", "4"))
    pays = pays_from(run, link, 2, "one_shot") is not None
    assert (float(two[1]) < 1) == pays
    assert two[0].endswith("MiB") == pays
    assert four[0] == "never"
    assert float(four[1]) > 1 > float(four[3])


def test_the_kernels_table_shows_what_was_measured(run: Run) -> None:
    [kernel] = [
        kernel
        for kernel in run.measurements
        if (kernel.operation, kernel.codec, kernel.tokens, kernel.width) == ("quantize", "int8_token", 8192, 4096)
    ]
    row = cells(as_text(run), "8192 x 4096", "int8_token", "quantize")
    assert float(row[0]) == pytest.approx(kernel.microseconds, abs=0.05)
    assert float(row[1]) == pytest.approx(kernel.bytes / 1e6, abs=0.05)
    assert float(row[2]) == pytest.approx(kernel.bytes / kernel.microseconds / 1e6, abs=0.005)
    assert float(row[3].rstrip("%")) / 100 == pytest.approx(of_copy(run, kernel), abs=5e-4)


def test_the_plots_are_drawn(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the plots need matplotlib")
    from suites.speed.model import plots  # noqa: PLC0415 - it imports matplotlib

    plots.draw(run, tmp_path)
    assert "int8_hadamard" in (tmp_path / "roofline.svg").read_text(encoding="utf-8")
    model = (tmp_path / "model.svg").read_text(encoding="utf-8")
    assert all(link.name in model for link in LINKS)
