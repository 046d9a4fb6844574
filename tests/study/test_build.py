from dataclasses import replace
from math import inf
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from harness.config.policy import read_policy
from harness.sglang_plugin.policy import CREST, POSITION, Choice, Policy, Rows
from harness.study.build import build_study
from harness.study.folder import StudyFolder
from harness.study.model import MeasuredSite
from harness.study.plan import Candidate, StudyPlan
from harness.study.plots import SMALLEST, harm_map
from harness.study.records import Measured
from harness.study.write import write_study
from tests.study.measured import measured, sample, write_study_folder
from tests.study.plans import study_plan

SITES = [(site, layer) for layer in range(2) for site in ("attention", "ffn")]
INT8, HADAMARD = Choice(codec="int8_token"), Choice(codec="int8_hadamard")


def all_by(choice: Choice | None) -> dict[tuple[str, int], Choice | None]:
    return dict.fromkeys(SITES, choice)


def study_of(folder: StudyFolder, *found: Measured, plan: StudyPlan | None = None) -> None:
    noise = measured("noise", "plain, again", all_by(None), 0.0, cost=1.0)
    write_study_folder(folder, plan or study_plan(), [noise, *found])


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder(tmp_path / "study")


def test_the_fewest_bytes_that_surely_keep_the_budget_are_recommended(folder: StudyFolder) -> None:
    mixed = {site: HADAMARD if site == ("ffn", 1) else INT8 for site in SITES}
    study_of(
        folder,
        measured("candidate", "int8_token one_shot", all_by(INT8), 0.07, cost=0.5),
        measured("candidate", "int8_hadamard one_shot", all_by(HADAMARD), 0.0004, cost=0.52),
        # Its mean keeps the budget, its upper bound does not.
        measured("mix", "mix for 0.0019", mixed, 0.0019, cost=0.4),
        measured("mix", "mix for 0.001", mixed | {("ffn", 0): HADAMARD}, 0.001, cost=0.45),
    )
    report = build_study(folder)
    assert report.recommended is not None
    assert report.recommended.name == "mix for 0.001"
    assert [policy.name for policy in report.candidates if policy.on_frontier] == [
        "int8_hadamard one_shot",
        "mix for 0.0019",
        "mix for 0.001",
    ]
    assert report.noise["2"].mean == 0


def test_the_policy_file_says_what_was_measured(folder: StudyFolder) -> None:
    mixed = {site: HADAMARD if site == ("ffn", 1) else INT8 for site in SITES}
    study_of(folder, measured("mix", "mix", mixed, 0.001, cost=0.4))
    write_study(build_study(folder), folder)
    policy = read_policy(folder.policy)
    assert policy is not None
    assert {site: policy.choice(*site) for site in SITES} == mixed
    assert (folder.path.parent / "latest-study").resolve() == folder.path
    text = folder.markdown.read_text()
    assert "**mix**: 0.40 of the bytes" in text
    assert folder.plots.exists()
    assert YAML(typ="safe").load(folder.policy.read_text())["name"] == "mix"


def test_nothing_is_recommended_where_nothing_keeps_the_budget(folder: StudyFolder) -> None:
    study_of(folder, measured("candidate", "int8_token one_shot", all_by(INT8), 0.07))
    report = build_study(folder)
    assert report.recommended is None
    write_study(report, folder)
    assert not folder.policy.exists()
    assert "No measured policy surely keeps 0.002" in folder.markdown.read_text()


def test_a_candidate_that_was_dropped_is_not_recommended(folder: StudyFolder) -> None:
    dropped = measured("candidate", "int8_token one_shot", all_by(INT8), 0.0001).model_copy(update={"dropped": "why"})
    study_of(folder, dropped)
    assert build_study(folder).recommended is None


def test_a_study_at_other_ranks_recommends_for_the_first(folder: StudyFolder) -> None:
    plan = study_plan(ranks=[2, 4])
    study_of(
        folder,
        measured("candidate", "int8_hadamard one_shot", all_by(HADAMARD), 0.0004, cost=0.52),
        measured("noise", "plain, again", all_by(None), 0.0, cost=1.0, ranks=4),
        measured("candidate", "int8_hadamard two_shot", all_by(HADAMARD), 0.0002, cost=0.1, ranks=4),
        plan=plan,
    )
    report = build_study(folder)
    assert report.recommended is not None
    assert report.recommended.name == "int8_hadamard one_shot"
    assert {policy.ranks for policy in report.candidates} == {2, 4}


def test_sites_and_whether_their_harms_add_up(folder: StudyFolder) -> None:
    harms = {("attention", 0): 0.001, ("ffn", 0): 0.05, ("attention", 1): 0.002, ("ffn", 1): 0.007}
    alone = [
        measured("site", f"int8_token in {site}", all_by(None) | {site: INT8}, harm, texts=4)
        for site, harm in harms.items()
    ]
    study_of(folder, measured("candidate", "int8_token one_shot", all_by(INT8), 0.07), *alone)
    report = build_study(folder)
    assert {(site.site, site.layer): pytest.approx(site.kl) for site in report.sites} == harms
    (row,) = report.additivity
    assert row.sum_alone == pytest.approx(sum(harms.values()))
    # On the texts that the sites were measured on.
    assert row.together == pytest.approx(
        sum(sum(text.kl) for text in measured("x", "x", all_by(INT8), 0.07).texts[:4]) / (4 * 20)
    )


def test_rows_by_crest_and_position_and_what_answers_do_by_themselves(folder: StudyFolder) -> None:
    rows = Rows(by=CREST, low=99, high=100), Rows(by=POSITION, low=8, high=inf)
    found = [
        measured("rows", str(one), all_by(replace(INT8, rows=one)), harm)
        for one, harm in zip(rows, (0.05, 0.01), strict=True)
    ]
    right, wrong = sample(0, yes=-1, no=-2), sample(0, yes=-2, no=-1)
    noise = measured("noise", "plain, again", all_by(None), 0.0, cost=1.0, samples=(right,))
    again = measured("again", "plain, a second time", all_by(None), 0.0, cost=1.0, samples=(wrong,))
    write_study_folder(folder, study_plan(), [noise, again, *found])
    report = build_study(folder)
    assert [(one.by, one.low, one.high) for one in report.rows] == [("crest", 99, 100), ("position", 8, None)]
    assert [one.kl.mean for one in report.rows] == pytest.approx([0.05, 0.01])
    by_itself = report.answers_noise["2"]
    assert (by_itself.flips, by_itself.questions) == (1, 1)
    assert by_itself.low == pytest.approx(0.05)
    write_study(report, folder)
    assert "| crest percentiles 99 to 100 | 0.05 |" in folder.markdown.read_text()
    assert "by themselves 1 of 1 at 2 ranks" in folder.markdown.read_text()


def test_the_same_study_gives_the_same_report(folder: StudyFolder) -> None:
    study_of(folder, measured("candidate", "int8_hadamard one_shot", all_by(HADAMARD), 0.0004))
    write_study(build_study(folder), folder)
    first = folder.report.read_bytes(), folder.markdown.read_bytes(), folder.plots.read_bytes()
    write_study(build_study(folder), folder)
    assert (folder.report.read_bytes(), folder.markdown.read_bytes(), folder.plots.read_bytes()) == first


def test_a_candidate_is_the_policy_of_one_rule() -> None:
    candidate = Candidate(codec="int8_token", algorithm="two_shot", ranks=4)
    assert candidate.choice == Choice(codec="int8_token", algorithm="two_shot")
    assert Policy(rules=()).choice("ffn", 0) is None


def test_the_map_has_each_site_in_its_own_place() -> None:
    found = [
        MeasuredSite(codec="int8_token", site="ffn", layer=1, kl=0.5),
        MeasuredSite(codec="int8_token", site="attention", layer=1, kl=0.1),
        MeasuredSite(codec="int8_token", site="attention", layer=0, kl=0.2),
    ]
    assert harm_map(found).tolist() == [[0.2, SMALLEST], [0.1, 0.5]]
