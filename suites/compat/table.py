"""The table of docs/compatibility.md: what was counted, and by reading what was not."""

import re
from collections.abc import Mapping

from harness.plan.flag_coverage import coverage
from harness.strict import Strict
from suites.compat.count import Counted
from suites.compat.release import Asked

CLASSES = {
    "random-llama": "LlamaForCausalLM",
    "random-qwen2": "Qwen2ForCausalLM",
    "random-qwen3": "Qwen3ForCausalLM",
    "random-qwen3-moe": "Qwen3MoeForCausalLM",
}
"""The class of each small model."""
START, END = "<!-- table -->", "<!-- end of the table -->"


class Seen(Strict):
    """What was found out of one release.

    Attributes:
        date: When.
        asked: What it said of itself.
        counted: By model's name what its server compressed.
        failed: By model's name why there was no count.
    """

    date: str
    asked: Asked
    counted: dict[str, Counted]
    failed: dict[str, str]


class Table(Strict):
    """Every release that was looked at, by its version."""

    releases: dict[str, Seen]


def wrong(release: str, seen: Seen) -> list[str]:
    """Return where a release is not as harness.plan.flag_coverage and the suites say."""
    found = [*seen.asked.problems, *(f"the test {name} failed" for name in seen.asked.failed)]
    found += [f"{model}: {why}" for model, why in seen.failed.items()]
    for model, counted in seen.counted.items():
        named = CLASSES[model]
        known = coverage(release, named)
        if known is None:
            found.append(f"{named}: harness/plan/flag_coverage.py does not know this release")
            continue
        expected = {site: counted.layers if site in known.sites else 0 for site in counted.sites}
        if counted.sites != expected:
            found.append(f"{named}: {counted.sites} sums a prefill were compressed, where {expected} were expected")
        if counted.in_decode:
            found.append(f"{named}: {counted.in_decode} sums were compressed in decode")
        if not counted.prefills or not counted.decodes:
            found.append(f"{named}: {counted.prefills} prefills and {counted.decodes} passes of decode prove nothing")
        if not counted.known_answer:
            found.append(f"{named}: its server does not know the one thing that it should")
    return found


def lines(table: Table) -> list[str]:
    """Return the table's rows as Markdown, oldest release first."""
    heads = [named.removesuffix("ForCausalLM") for named in CLASSES.values()]
    rows = [
        "| release | suites' arguments | gate and hooks | " + " | ".join(heads) + " |",
        "|---|---|---|" + "---|" * len(heads),
    ]
    for release in sorted(table.releases, key=_number):
        seen = table.releases[release]
        rows.append(
            f"| {release} | {_arguments(seen.asked)} | {_tests(seen.asked)} | "
            + " | ".join(_cell(release, model, seen) for model in CLASSES)
            + " |"
        )
    return rows


def placed(document: str, table: Table) -> str:
    """Return a document with the table in the place of the one that it has."""
    before, _, rest = document.partition(START)
    after = rest.partition(END)[2]
    return "\n".join([f"{before}{START}", *lines(table), f"{END}{after}"])


def merged(old: Table, new: Mapping[str, Seen]) -> Table:
    """Return a table with what was found out now in the place of what was known of the same releases.

    A server that was not started now was not seen to fail either: an earlier count of it stays.
    """
    releases = dict(old.releases)
    for release, seen in new.items():
        earlier = releases[release].counted if release in releases else {}
        kept = {model: count for model, count in earlier.items() if model not in seen.failed}
        releases[release] = seen.model_copy(update={"counted": kept | seen.counted})
    return Table(releases=releases)


def _arguments(asked: Asked) -> str:
    if asked.problems:
        return f"{len(asked.problems)} problems"
    return f"taken, {len(asked.spelled)} renamed" if asked.spelled else "taken"


def _tests(asked: Asked) -> str:
    return f"{len(asked.failed)} fail" if asked.failed else f"{asked.passed} pass"


def _cell(release: str, model: str, seen: Seen) -> str:
    if counted := seen.counted.get(model):
        return " + ".join("differs" if count is None else str(count) for count in counted.sites.values())
    known = coverage(release, CLASSES[model])
    if known is None:
        return "unknown"
    return "*" + (" and ".join(known.sites) or "nothing") + ", read*"


def _number(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", release))
