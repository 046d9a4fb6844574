import re
from pathlib import Path

import pytest

from harness.sglang_plugin.policy import Choice
from harness.study.build import build_study
from harness.study.folder import StudyFolder
from harness.study.model import Additivity, MeasuredSite, StudyReport
from harness.study.page import page
from harness.study.write import write_study
from tests.study.measured import measured, write_study_folder
from tests.study.plans import study_plan

SITES = [(site, layer) for layer in range(2) for site in ("attention", "ffn")]


@pytest.fixture
def report(tmp_path: Path) -> StudyReport:
    folder = StudyFolder(tmp_path / "study")
    every = {name: dict.fromkeys(SITES, Choice(codec=name)) for name in ("int8_token", "int8_hadamard")}
    found = [
        measured("noise", "plain, again", dict.fromkeys(SITES), 0.0, cost=1.0),
        measured("candidate", "int8_token one_shot", every["int8_token"], 0.07, cost=0.5),
        measured("candidate", "int8_hadamard one_shot", every["int8_hadamard"], 0.0004, cost=0.52),
    ]
    write_study_folder(folder, study_plan(), found)
    built = build_study(folder)
    write_study(built, folder)
    assert folder.page.read_text(encoding="utf-8") == page(built)
    sites = [MeasuredSite(codec="int8_token", site=site, layer=layer, kl=0.01 * layer) for site, layer in SITES]
    sums = [Additivity(codec="int8_token", sum_alone=0.02, together=0.07)]
    return built.model_copy(update={"sites": sites, "additivity": sums})


def words(content: str) -> str:
    shown = re.sub(r"<(style|script)>.*?</\1>", "", content, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", shown).split())


def test_the_page_says_what_is_recommended_and_what_harm_every_policy_does(report: StudyReport) -> None:
    text = words(page(report))
    assert "int8_hadamard one_shot : 0.52 of a plain ring's bytes, mean KL divergence 0.0004 (" in text
    assert "no real run has confirmed it yet" in text
    assert "int8_token one_shot 2 0.50" in text
    assert "ffn 1 0.0100 50 %" in text
    assert f"--suite {report.suite} --confirm" in text


def test_where_nothing_keeps_the_budget_it_says_so(report: StudyReport) -> None:
    text = words(page(report.model_copy(update={"recommended": None, "sites": [], "candidates": []})))
    assert f"No measured policy surely keeps {report.budget_kl:g} nats a token" in text
    assert "policy.yaml" not in text


def test_it_loads_nothing_and_obeys_no_name(report: StudyReport) -> None:
    content = page(report.model_copy(update={"model": "<script>window.stolen = 1</script>\u202e"}))
    assert content.count("<script>") == 1
    assert "&lt;script&gt;window.stolen" in content
    assert "⟨U+202E⟩" in content
    assert not re.search(r"(?:src|href)=(?![\"']#)", content)
