"""The page as text: what stands on it, that it is bounded, and that nothing of it obeys a model."""

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import pytest

from harness.plan.plan import Plan
from harness.records.run import RUNNING, RunRecord, read_record, write_record
from harness.report.build import build_report
from harness.report.page import page as page_module
from harness.report.page.page import page
from harness.report.page.questions import MOST_QUESTIONS
from tests.answers import boolq, gsm8k, rewrite_samples
from tests.report.pages import HOSTILE, hostile, keep_all_prompts, many, page_of
from tests.runs import finished, write_arm, write_run
from tests.support import make, run_folder

# What a browser loads or runs of itself.
LOADS = {"src", "href", "action", "data", "poster", "srcset", "background", "formaction", "xlink:href"}


class Parsed(HTMLParser):
    """A page's elements, attributes and texts.

    Attributes:
        tags: The elements' names.
        attributes: All attributes.
        headings: Each heading's level and text.
        texts: The texts by the element they stand in.
    """

    def __init__(self, content: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.headings: list[tuple[int, str]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self._open.append(tag)
        if re.fullmatch(r"h\d", tag):
            self.headings.append((int(tag[1]), ""))

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th", "summary"}:
            self.texts.append((tag, " "))
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        self.texts.append((self._open[-1] if self._open else "", data))
        heading = next((tag for tag in reversed(self._open) if re.fullmatch(r"h\d", tag)), None)
        if heading and self.headings:
            level, text = self.headings[-1]
            self.headings[-1] = (level, text + data)

    @property
    def text(self) -> str:
        return " ".join("".join(text for tag, text in self.texts if tag not in {"script", "style"}).split())


def parsed(folder_page: Path) -> Parsed:
    return Parsed(folder_page.read_text(encoding="utf-8"))


def test_the_page_answers_in_the_order_in_which_a_reviewer_asks(plan: Plan) -> None:
    found = parsed(page_of(finished(plan)))
    titles = [" ".join(text.split()) for level, text in found.headings if level <= 2]
    assert titles == [
        "✓ PASS smollm2-cpu",
        "Why",
        "Tasks",
        "Questions that changed",
        "Predictions of fixed text ✓ PASS",
        "Did compression run, and right?",
        "Time, versions, commands",
    ]
    assert "What to do: compression may be switched on by your thresholds" in found.text
    assert f"nox -s report -- {plan.folder}" in found.text
    assert "max_drop ✓ PASS boolq: accuracy changed by +0.0 points" in found.text
    assert "the true value" in found.text
    assert "allowed 0.884" in found.text


def test_a_lost_question_stands_first_with_everything_about_it(plan: Plan) -> None:
    folder = finished(plan)
    keep_all_prompts(folder)
    text = parsed(page_of(folder)).text
    assert "3 lost (right in the baseline alone), 1 won (right in the compressed arm alone)." in text
    first = text[text.index("boolq, question 5") : text.index("gsm8k, question 0")]
    assert "Lost margin +1.00 to -1.00 nats Question: is it 5?" in first
    assert "Prompt after how every prompt of boolq begins Passage 5." in first
    assert "Target no" in first
    assert "no ✓ right -1.000 ← chosen -2.000 -1.000 yes -2.000 -1.000 ← chosen +1.000" in first
    second = text[text.index("gsm8k, question 0") : text.index("gsm8k, question 1 ")]
    assert "Baseline: right, read as 5 it is 5 4 tokens Compressed: wrong, read as 6 it is 6" in second
    assert "How every prompt begins Read the passage" in text


def test_what_differs_is_marked_on_either_side(plan: Plan) -> None:
    found = parsed(page_of(finished(plan)))
    assert ("del", "5") in found.texts
    assert ("ins", "6") in found.texts


def test_a_run_that_kept_no_prompts_says_so(plan: Plan) -> None:
    folder = finished(plan)
    assert "This run kept no prompts." in parsed(page_of(folder)).text
    keep_all_prompts(folder)
    assert "This run kept no prompts." not in parsed(page_of(folder)).text
    folder.questions("boolq").write_text("nonsense\n")
    assert "boolq.jsonl:1: is not a question" in parsed(page_of(folder)).text


def test_the_same_files_make_the_same_page(plan: Plan) -> None:
    folder = finished(plan)
    keep_all_prompts(folder)
    assert page(build_report(folder), folder) == page(build_report(folder), folder)


def test_a_run_that_was_cut_off_says_how_it_goes_on(plan: Plan) -> None:
    folder = finished(plan)
    assert "--resume" not in parsed(page_of(folder)).text
    record = read_record(folder.run, RunRecord)
    write_record(folder.run, record.model_copy(update={"state": RUNNING}))
    text = parsed(page_of(folder)).text
    assert "! ERROR smollm2-cpu" in text
    assert f"It goes on with nox -s accuracy -- --resume {plan.folder}." in text


@pytest.mark.parametrize("after", ["nothing", "the baseline"])
def test_a_run_that_ended_early_has_a_page(plan: Plan, after: str) -> None:
    write_run(plan, errors=["compressed: the server ended with exit code 1\nits last <line> \x1b[31m"])
    if after != "nothing":
        write_arm(plan, "baseline", {"boolq": boolq(), "gsm8k": gsm8k()})
    text = parsed(page_of(run_folder(plan))).text
    assert "its last <line> ?" in text
    assert "No question was answered in both arms." in text
    assert "-100.0" not in text


def test_the_baseline_again_stands_beside(tmp_path: Path) -> None:
    plan = make(tmp_path, noise_floor=True)
    folder = finished(plan)
    write_arm(plan, "baseline-again", {"boolq": boolq(3, 4, 5), "gsm8k": gsm8k()})
    text = parsed(page_of(folder)).text
    assert "Cross: the baseline started again." in text
    assert text.count("the baseline, started again, changes it too") == 1


def test_harm_is_told_at_the_top(plan: Plan) -> None:
    folder = finished(plan)
    rewrite_samples(folder.arm("compressed").samples("boolq"), boolq(*range(64)))
    text = parsed(page_of(folder)).text
    assert "✗ FAIL smollm2-cpu, with 3 WARNINGS What to do: compression is not to be switched on by your" in text


def test_hostile_texts_are_shown_and_never_obeyed(plan: Plan) -> None:
    file = page_of(hostile(plan))
    content = file.read_text(encoding="utf-8")
    found = parsed(file)
    assert found.tags.count("script") == 1
    assert found.tags.count("style") == 1
    assert not {"img", "iframe", "object", "embed", "link", "base"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on") or name == "style"]
    assert "<script>window.stolen = 1</script>" in found.text
    assert "{{ 7 * 7 }}" in found.text
    for shown in ("␛[2J", "⟨U+202E⟩gnp.exe⟨U+2066⟩", "␀", "⟨U+200B⟩", "⟨U+FEFF⟩", "⟨U+2028⟩", "dam\ufffd\ufffdged"):
        assert shown in found.text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2066-\u2069\ufeff]", content)
    assert "more characters" in found.text
    assert len(content) < 400_000


def test_no_run_makes_a_page_that_a_browser_cannot_open(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = many(plan)
    whole = page_of(folder).read_text(encoding="utf-8")
    assert whole.count('class="question lost"') == 144 <= MOST_QUESTIONS
    # 144 cards of at most so many characters each, and the rest of the page.
    assert len(whole) < 144 * 12_000 + 200_000
    monkeypatch.setattr("harness.report.page.questions.MOST_QUESTIONS", 10)
    monkeypatch.setattr(page_module, "MOST_QUESTIONS", 10)
    cut = page_of(folder).read_text(encoding="utf-8")
    assert cut.count('class="question lost"') == 10
    assert "The first 10 are here, all of them in the run's samples." in parsed(folder.page).text


def test_nothing_is_loaded_and_only_the_own_script_may_run(plan: Plan) -> None:
    file = page_of(hostile(plan))
    found = parsed(file)
    assert all(value.startswith("#") for name, value in found.attributes if name in LOADS)
    policy = next(value for name, value in found.attributes if value.startswith("default-src"))
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        (content,) = (text for at, text in found.texts if at == tag)
        assert "url(" not in content
        assert "import" not in content
        assert f"{directive} 'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    # Links lead to places of this page that are there.
    places = {value for name, value in found.attributes if name == "id"}
    assert {value[1:] for name, value in found.attributes if name == "href"} <= places
    assert len(places) == len([value for name, value in found.attributes if name == "id"])


def test_the_attack_is_one() -> None:
    assert "stolen = 4" in HOSTILE
