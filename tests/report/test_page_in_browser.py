"""The page in a real headless Chromium: what runs, what is shown, and what a keyboard, a phone and a printer get."""

import os
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.report.pages import hostile, keep_all_prompts, many, page_of
from tests.runs import finished
from tests.support import make

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MISSING = "no chromium, chromium-browser or google-chrome on PATH: install your system's package `chromium`"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        if os.environ.get("CI") == "true":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    with sync_playwright() as playwright:
        # Its sandbox needs rights that a container's root does not have; the pages are this project's own.
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


class Shown:
    """A page in a browser.

    Attributes:
        page: The page.
        said: What it, or the browser, wrote to the console: an error, a broken policy.
        asked: What it asked for beside itself.
    """

    def __init__(self, browser: Browser, file: Path, *, width: int = 1200, scheme: str = "light") -> None:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if scheme == "dark" else "light"
        )
        self.page: Page = context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.as_uri())
        assert self.asked == [file.as_uri()]

    def visible(self, selector: str) -> int:
        return sum(found.is_visible() for found in self.page.locator(selector).all())

    def evaluate(self, expression: str) -> object:
        return self.page.evaluate(expression)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = finished(make(tmp_path_factory.mktemp("usual")))
    keep_all_prompts(folder)
    return page_of(folder)


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page_of(hostile(make(tmp_path_factory.mktemp("hostile"))))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_hostile_texts_run_nothing_and_break_no_layout(
    browser: Browser, attacked: Path, width: int, scheme: str
) -> None:
    shown = Shown(browser, attacked, width=width, scheme=scheme)
    assert shown.evaluate("window.stolen") is None
    assert shown.evaluate("document.scripts.length") == 1
    assert shown.evaluate("document.title") == "PASS: smollm2-cpu, 20260102-030405-smollm2-cpu"
    assert shown.said == []
    # Nothing is wider than the screen, whatever an answer holds.
    assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth") is True
    assert shown.asked == [attacked.as_uri()]


def test_the_policy_refuses_what_an_escape_would_let_through(browser: Browser, usual: Path) -> None:
    shown = Shown(browser, usual)
    refused: list[str | None] = []
    shown.page.on("requestfailed", lambda request: refused.append(request.failure))
    image = '<img src="https://example.org/x" onerror="window.stolen = 1">'
    shown.evaluate(f"document.body.insertAdjacentHTML('beforeend', '{image}')")
    shown.page.wait_for_function("document.images[0].complete")
    assert shown.evaluate("window.stolen") is None
    assert any("Content Security Policy" in text for text in shown.said)
    assert refused == ["csp"]


def test_search_and_filter(browser: Browser, usual: Path) -> None:
    shown = Shown(browser, usual)
    page = shown.page
    assert shown.visible(".question") == 4
    page.get_by_label("Words in prompt").fill("PASSAGE 5.")
    assert shown.visible(".question") == 1
    assert page.get_by_role("status").inner_text() == "1 of 4 shown"
    page.get_by_label("Words in prompt").fill("")
    page.get_by_role("combobox", name="What became of it").select_option(label="Won")
    assert shown.visible(".question") == shown.visible(".question.won") == 1
    page.get_by_role("combobox", name="What became of it").select_option(label="all")
    page.get_by_role("combobox", name="Task").select_option(label="gsm8k")
    assert shown.visible(".question") == 2
    assert shown.said == []


def test_a_dot_of_the_plot_leads_to_its_question(browser: Browser, usual: Path) -> None:
    shown = Shown(browser, usual)
    page = shown.page
    won = page.locator(".question.won")
    assert won.locator("details").get_attribute("open") is None
    page.get_by_role("combobox", name="What became of it").select_option(label="Lost")
    page.get_by_label("question 3: won").focus()
    page.keyboard.press("Enter")
    won.locator("pre").first.wait_for(state="visible")
    assert "#q-0-3" in page.url
    assert won.is_visible()


def test_everything_can_be_reached_and_told_by_keyboard_and_screen_reader(browser: Browser, usual: Path) -> None:
    shown = Shown(browser, usual)
    page = shown.page
    page.keyboard.press("Tab")
    assert shown.evaluate("document.activeElement.textContent") == "To the content"
    page.get_by_label("Words in prompt").focus()
    page.keyboard.press("Tab")
    assert shown.evaluate("document.activeElement.name") == "kind"
    assert shown.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    summary = page.locator(".question.won summary")
    summary.focus()
    page.keyboard.press("Space")
    assert page.locator(".question.won pre").first.is_visible()
    levels = page.locator("h1, h2, h3, h4").evaluate_all("found => found.map(each => Number(each.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert shown.evaluate("[...document.querySelectorAll('th')].every(cell => cell.scope)") is True
    assert (
        shown.evaluate(
            "[...document.querySelectorAll('main figure svg')].every(svg => svg.getAttribute('aria-label'))"
        )
        is True
    )


def test_light_dark_and_print(browser: Browser, usual: Path) -> None:
    grounds = {
        scheme: Shown(browser, usual, scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    }
    assert grounds == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 28)"}
    shown = Shown(browser, usual)
    closed = shown.page.locator(".question.won .body")
    assert not closed.is_visible()
    shown.page.emulate_media(media="print")
    assert shown.visible("nav") == shown.visible(".filter") == 0
    # A printer cannot open a question.
    assert shown.evaluate("document.querySelector('.question.won .body').getBoundingClientRect().height > 50") is True
    assert shown.page.pdf(format="A4").startswith(b"%PDF")


def test_without_script_all_is_there(browser: Browser, usual: Path) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(usual.as_uri())
    assert page.locator(".question").count() == 4
    assert not page.locator(".filter").is_visible()
    assert page.locator(".question.lost pre").first.is_visible()


def test_a_page_of_many_questions_filters_them(browser: Browser, tmp_path: Path) -> None:
    shown = Shown(browser, page_of(many(make(tmp_path))))
    shown.page.get_by_label("Words in prompt").fill("Passage 77.")
    assert shown.visible(".question") == 1
    shown.page.get_by_role("button", name="Open or close").click()
    assert shown.page.locator("#q-0-77 pre").first.is_visible()
