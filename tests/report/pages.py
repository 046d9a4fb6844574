"""Runs whose pages are looked at: one whose texts attack whoever shows them, and one that is too large to show."""

from pathlib import Path

from harness.plan.plan import Plan
from harness.records.questions import keep_prompts
from harness.records.run_folder import RunFolder
from harness.records.samples import Sample
from harness.report.build import build_report
from harness.report.write import write_report
from tests.answers import boolq, gsm8k, make_sample, rewrite_samples
from tests.runs import finished

HOSTILE = (
    "</pre></script></style></title>--><script>window.stolen = 1</script><img src=x onerror='window.stolen = 2'>"
    "<svg onload='window.stolen = 3'><a href='javascript:window.stolen = 4'>{{ 7 * 7 }}{% raw %}"
    "\x1b[2J\x1b]0;title\x07\x1b[31mred \u202egnp.exe\u2066 \x00 \u200b \ufeff \u2028 ::error::stolen ]]> &amp;"
)
LARGE = 1_000_000


def prompts(count: int, text: str = "") -> list[str]:
    shared = "Read the passage and answer the question with one word.\nThe examples stand here, the same for all.\n"
    return [f"{shared}Passage {number}. {text}\nQuestion: is it {number}?\nAnswer:" for number in range(count)]


def keep_all_prompts(folder: RunFolder, text: str = "") -> None:
    keep_prompts(folder.questions("boolq"), prompts(128, text))
    keep_prompts(folder.questions("gsm8k"), prompts(16, text))


def hostile(plan: Plan) -> RunFolder:
    """Write a run whose every text of unknown origin is hostile, and whose answers are 1 MB long."""
    folder = finished(plan)
    keep_all_prompts(folder, HOSTILE)
    for arm, word in (("baseline", "one"), ("compressed", "two")):
        file = folder.arm(arm).samples("gsm8k")
        answers = [_attacking(sample, word) for sample in gsm8k(*(range(8) if arm == "compressed" else ()))]
        rewrite_samples(file, answers)
        # A file that was damaged: half a character, and a byte that never stands in UTF-8.
        file.write_bytes(file.read_bytes().replace(b"damaged", b"dam\xc3\xffged", 1))
    return folder


def _attacking(sample: Sample, word: str) -> Sample:
    text = f"damaged {HOSTILE} {word} {'<b>bold</b> & ' * (LARGE // 14)}"
    return sample.model_copy(update={"text": text, "target": HOSTILE, "answer": f"{word} {HOSTILE}"})


def many(plan: Plan) -> RunFolder:
    """Write a run that lost all of its questions, each with a long answer."""
    folder = finished(plan)
    keep_all_prompts(folder, "Long. " * 2_000)
    rewrite_samples(folder.arm("baseline").samples("boolq"), boolq())
    rewrite_samples(folder.arm("compressed").samples("boolq"), boolq(*range(128)))
    for arm, right in (("baseline", True), ("compressed", False)):
        answers = [make_sample(number, right=right, text=f"{arm} " * 20_000) for number in range(16)]
        rewrite_samples(folder.arm(arm).samples("gsm8k"), answers)
    return folder


def page_of(folder: RunFolder) -> Path:
    """Write a run's report and return its page."""
    write_report(build_report(folder), folder)
    return folder.page
