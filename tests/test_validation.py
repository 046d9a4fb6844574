"""The validation's own machinery, and its short form as a check of the verdicts."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from harness.stats.planning import Outcomes, drop_outcomes
from harness.validation.bars import Bar, bars, limit_of, night_bars, prediction_bars, task_bars
from harness.validation.drop_cells import DropCell, simulate, truths
from harness.validation.night_cells import CRIES, REPEATS, SEES, simulate_nights
from harness.validation.other_cells import OtherCell
from harness.validation.prediction_cells import SHOWN, simulate_predictions
from harness.validation.task_cells import COIN, NPU_FAIL, NPU_PASS, STEADY, simulate_tasks
from harness.validation.truth import Truth
from harness.validation.write import Validation, write
from tests.support import whole_tables


def truth(**keys: float) -> Truth:
    usual = {"n": 200, "max_drop": 0.05, "accuracy": 0.7, "discordance": 0.1, "true_drop": 0.05, "noise": 0.0}
    merged = {**usual, **keys}
    return Truth(
        n=int(merged["n"]),
        max_drop=merged["max_drop"],
        accuracy=merged["accuracy"],
        discordance=merged["discordance"],
        true_drop=merged["true_drop"],
        noise=merged["noise"],
    )


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("accuracy", [0.35, 0.85])
def test_noise_leaves_accuracy_and_drop_and_makes_two_runs_differ(accuracy: float, noise: float) -> None:
    of = truth(accuracy=accuracy, noise=noise)
    shares = of.runs_of_three()
    assert shares.sum() == pytest.approx(1)
    assert shares[1].sum() == pytest.approx(accuracy)
    assert shares[:, 1].sum() == pytest.approx(accuracy)
    assert shares[:, :, 1].sum() == pytest.approx(accuracy - 0.05)
    assert shares[0, 1].sum() + shares[1, 0].sum() == pytest.approx(noise)
    lost, won = of.table()
    assert lost - won == pytest.approx(0.05)
    assert lost + won == pytest.approx(0.1) if noise == 0 else lost + won > 0.1


def test_the_verdicts_on_predictions_err_as_often_as_they_say() -> None:
    """The short form: 200 runs a cell, whose Monte-Carlo error the bar allows for."""
    cells = list(simulate_predictions(200, np.random.default_rng(1)))
    held, unknowable = prediction_bars(cells)
    assert held.met, held
    assert held.cells > 30
    # What cannot be known is shown and not called held.
    assert unknowable.met is None
    assert unknowable.worst > 0.08
    power = [cell.passes for cell in cells if cell.kind == SHOWN]
    assert power == sorted(power)
    assert power[1] > 0.75


def test_the_memory_cries_wolf_as_seldom_as_it_says_and_sees_two_points_soon() -> None:
    """The short form: 2,000 nights and 40 runs a cell, whose Monte-Carlo error the bars allow for."""
    cells = list(simulate_nights(2000, 40, np.random.default_rng(1)))
    cries, repeats, sees, repeated = night_bars(cells)
    assert cries.met, cries
    assert repeats.met, repeats
    assert sees.met, sees
    # What one draw of luck hides is shown and not called held.
    assert repeated.met is None
    assert 0.3 < repeated.worst < 1


def test_a_memory_that_cries_wolf_or_sleeps_misses_its_bars() -> None:
    cells = list(simulate_nights(200, 10, np.random.default_rng(1)))
    wrong = {CRIES: 1 / 50, REPEATS: 0.5, SEES: 0.4}
    planted = [replace(cell, runs=2000, fails=wrong.get(cell.kind, cell.fails)) for cell in cells]
    assert [bar.met for bar in night_bars(planted)] == [False, False, False, None]


def test_shares_that_cannot_go_together_are_refused() -> None:
    with pytest.raises(ValueError, match="no table has these shares"):
        truth(accuracy=0.99, discordance=0.3, true_drop=0.0).runs_of_three()
    with pytest.raises(ValueError, match="differ in at most"):
        truth(accuracy=0.95, noise=0.2).runs_of_three()


def test_every_cell_of_the_grid_is_possible() -> None:
    cells = list(truths())
    assert len(cells) == 480
    for cell in cells:
        assert cell.runs_of_three().min() >= 0


@pytest.mark.parametrize("drop", [0.0, 0.05, 0.1])
def test_the_simulation_agrees_with_the_exact_chances(drop: float) -> None:
    of = truth(true_drop=drop)
    cell = simulate(of, 20_000, np.random.default_rng(1))
    exact = drop_outcomes(200, 0.1, drop, 0.05)
    assert (cell.fixed.passes, cell.fixed.fails) == pytest.approx((exact.passes, exact.fails), abs=0.012)
    assert cell.early.passes + cell.early.fails + cell.early.inconclusive == pytest.approx(1)
    assert cell.questions <= 1


@pytest.mark.parametrize("p_won", [0.0, 0.02, 0.1])
@pytest.mark.parametrize(("n", "margin"), [(128, 0.10), (200, 0.03), (1319, 0.05)])
def test_false_alarms_stay_below_the_stated_level(n: int, margin: float, p_won: float) -> None:
    of = truth(n=n, max_drop=margin, true_drop=margin, discordance=margin + 2 * p_won)
    runs = 5000
    cell = simulate(of, runs, np.random.default_rng(2))
    assert max(cell.fixed.passes, cell.fixed.fails, cell.early.passes, cell.early.fails) <= limit_of(runs, 36)


def test_a_clear_pass_and_a_clear_fail_need_a_third_of_the_questions_and_keep_their_power() -> None:
    for drop in (0.0, 0.1):
        of = truth(n=1319, true_drop=drop, discordance=max(0.03, drop))
        assert of.clear
        cell = simulate(of, 2000, np.random.default_rng(3))
        assert cell.questions < 1 / 3
        assert cell.early.passes + cell.early.fails > 0.999


def drop_cell(
    of: Truth, *, passes: float, fails: float, early: Outcomes | None = None, questions: float = 0.5
) -> DropCell:
    rates = Outcomes(passes=passes, fails=fails, inconclusive=1 - passes - fails)
    return DropCell(
        truth=of,
        runs=10_000,
        drift=of.drift,
        clear=of.clear,
        fixed=rates,
        early=early or rates,
        score_alone=rates,
        questions=questions,
        missed_low=0.01,
        missed_high=0.01,
    )


def other_cell(**keys: float) -> OtherCell:
    usual = {"passes": 0.01, "fails": 0.01, "inconclusive": 0.98, **keys}
    return OtherCell(kind="flips", what="a cell", runs=10_000, false_pass=True, false_fail=True, **usual)


SOUND = (
    drop_cell(truth(), passes=0.04, fails=0.04),
    drop_cell(truth(true_drop=0.0), passes=0.9, fails=0.0),
    drop_cell(truth(n=3270, true_drop=0.0), passes=1.0, fails=0.0, questions=0.2),
)


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        (drop_cell(truth(), passes=0.08, fails=0.04), "the drop on all questions"),
        (
            drop_cell(truth(), passes=0.04, fails=0.04, early=Outcomes(passes=0.04, fails=0.08, inconclusive=0.88)),
            "the drop with early stop",
        ),
        (
            drop_cell(
                truth(true_drop=0.0), passes=0.9, fails=0.0, early=Outcomes(passes=0.87, fails=0.0, inconclusive=0.13)
            ),
            "early stop costs",
        ),
        (drop_cell(truth(n=3270, true_drop=0.0), passes=1.0, fails=0.0, questions=0.4), "a clear case needs"),
        (other_cell(fails=0.08), "confident floors, flips"),
    ],
)
def test_each_bar_can_be_missed(cell: DropCell | OtherCell, name: str) -> None:
    assert all(bar.met is not False for bar in bars(SOUND, [other_cell()]))
    drops = (*SOUND, cell) if isinstance(cell, DropCell) else SOUND
    others = [other_cell(), cell] if isinstance(cell, OtherCell) else [other_cell()]
    missed = [bar.name for bar in bars(drops, others) if bar.met is False]
    assert len(missed) >= 1
    assert any(line.startswith(name) for line in missed)


@pytest.fixture(scope="module")
def task_cells() -> list[OtherCell]:
    return list(simulate_tasks(500, np.random.default_rng(4)))


def missed(found: list[Bar]) -> list[str]:
    return [bar.name for bar in found if bar.met is False]


def test_all_gates_hold_their_level_on_questions_as_they_are(task_cells: list[OtherCell]) -> None:
    assert missed(task_bars(task_cells)) == []


def test_what_the_shuffle_and_the_clusters_are_for(task_cells: list[OtherCell]) -> None:
    late = [cell for cell in task_cells if cell.kind.startswith("drift, not shuffled") and "last half" in cell.what]
    assert min(cell.passes for cell in late) > 0.9
    alone = [cell for cell in task_cells if cell.kind.startswith("clusters, not counted")]
    assert max(max(cell.passes, cell.fails) for cell in alone) > 0.1


@pytest.mark.parametrize(
    ("kind", "changed", "name"),
    [
        ("clusters", {"passes": 0.2}, "all gates at once"),
        ("pooled test", {"fails": 0.2}, "all gates at once"),
        (STEADY, {"fails": 0.05}, "a sound baseline"),
        (COIN, {"passes": 0.01}, "an arm that answers by a coin"),
        (NPU_PASS, {"passes": 0.9}, "suites on NPUs: harmless"),
        (NPU_FAIL, {"fails": 0.8}, "suites on NPUs: a drop"),
    ],
)
def test_each_of_their_bars_can_be_missed(
    task_cells: list[OtherCell], kind: str, changed: dict[str, Any], name: str
) -> None:
    first = next(cell for cell in task_cells if cell.kind == kind)
    cells = [cell if cell is not first else replace(cell, **changed) for cell in task_cells]
    (found,) = missed(task_bars(cells))
    assert found.startswith(name)


def test_table_and_plot_are_written(tmp_path: Path) -> None:
    drops = [simulate(truth, 200, np.random.default_rng(0)) for truth in list(truths())[:6]]
    drops.append(simulate(truth(n=3270, true_drop=0.0), 200, np.random.default_rng(0)))
    others = [other_cell(), other_cell(fails=0.5)]
    of = Validation(date="2026-01-02", seed=0, seconds=1.0, bars=bars(drops, others), drops=drops, others=others)
    assert write(of, tmp_path, "validation") == tmp_path / "validation.md"
    page = (tmp_path / "validation.md").read_text(encoding="utf-8")
    assert "**Not met: confident floors" in page
    assert "| flips | a cell | (1.00) | (50.00) | 98.0 |" in page
    assert whole_tables(page.splitlines())
    assert len(json.loads((tmp_path / "validation.json").read_text(encoding="utf-8"))["drops"]) == 7
    first = (tmp_path / "validation.svg").read_bytes()
    assert first.startswith(b"<?xml")
    assert write(of, tmp_path, "validation") == tmp_path / "validation.md"
    assert (tmp_path / "validation.svg").read_bytes() == first


def test_the_command_says_what_was_missed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from harness.validation import __main__ as command  # noqa: PLC0415

    def few(runs: int, other_runs: int, seed: int) -> Validation:
        assert (runs, other_runs, seed) == (400, 400, 3)
        others = [other_cell(fails=0.5)]
        return Validation(
            date="2026-01-02", seed=seed, seconds=1.0, bars=bars(SOUND, others), drops=SOUND, others=others
        )

    monkeypatch.setattr(command, "validate", few)
    app = typer.Typer()
    app.command()(command.main)
    result = CliRunner().invoke(app, ["--short", "--seed", "3", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "MISSED confident floors" in result.output
    assert (tmp_path / "validation.md").exists()


def test_a_report_is_named_like_all_others_so_that_whoever_collects_them_finds_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from harness.validation import __main__ as command  # noqa: PLC0415

    found = Validation(
        date="2026-01-02", seed=0, seconds=1.0, bars=bars(SOUND, [other_cell()]), drops=SOUND, others=[other_cell()]
    )
    monkeypatch.setattr(command, "validate", lambda *_: found)
    monkeypatch.setattr(command, "REPORTS", tmp_path)
    app = typer.Typer()
    app.command()(command.main)
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 0, result.output
    # As the nightly job names it.
    [page] = tmp_path.glob("2*/report.md")
    assert page.parent.name.endswith("-validation")
    assert (tmp_path / "latest-validation").resolve() == page.parent
    assert f"]({(page.parent / 'report.svg').name})" in page.read_text()
    assert (page.parent / "report.json").exists()
