"""Files of a finished run that were damaged afterwards; the report is built again from what is left."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from suites.faults.invariants import read_report
from suites.faults.kinds import ERROR, NAMES, PASS, Expected, Kind, Seen, words_problems
from suites.faults.lab import Lab
from suites.faults.worker import in_worker

Damage = Callable[[Path], None]


def _lines(change: Callable[[list[str]], list[str]]) -> Damage:
    def damage(file: Path) -> None:
        file.write_text("".join(change(file.read_text().splitlines(keepends=True))))

    return damage


def _bytes(change: Callable[[bytes], bytes]) -> Damage:
    def damage(file: Path) -> None:
        file.write_bytes(change(file.read_bytes()))

    return damage


def _in_its_place(make: Callable[[Path], object]) -> Damage:
    def damage(file: Path) -> None:
        file.unlink()
        make(file)

    return damage


DAMAGES: dict[str, Damage] = {
    "deleted": Path.unlink,
    "emptied": _bytes(lambda _: b""),
    "cut in the middle": _bytes(lambda content: content[: len(content) // 2]),
    "zeros": _bytes(lambda content: bytes(len(content))),
    "binary": _bytes(lambda _: b"\xff\xfe\x1b[31m\x00" * 9),
    "another JSON": _bytes(lambda _: b'{"something": "else"}\n'),
    "a list": _bytes(lambda _: b"[1, 2, 3]\n"),
    "nested": _bytes(lambda _: b"[" * 100_000 + b"\n"),
    "a folder": _in_its_place(Path.mkdir),
    "a link to nowhere": _in_its_place(lambda file: file.symlink_to("nowhere")),
}


def _last_of_weight(lines: list[str]) -> str:
    """Return the last line but one, of a rank's log the last prefill but one: one of decode proves nothing."""
    prefills = [line for line in lines if '"EXTEND"' in line]
    return (prefills or lines)[-2]


OF_LINES: dict[str, Damage] = {
    "the second half lost": _lines(lambda lines: lines[: len(lines) // 2]),
    "the last line lost": _lines(lambda lines: lines[:-1]),
    "a line lost": _lines(lambda lines: [line for line in lines if line != _last_of_weight(lines)]),
    "a line twice": _lines(lambda lines: [*lines, lines[-1]]),
    "a line of garbage": _lines(lambda lines: [*lines[:2], "garbage\n", *lines[2:]]),
    "a line of another kind": _lines(lambda lines: [*lines, '{"rank": 0}\n']),
    "the last line cut": _lines(lambda lines: [*lines[:-1], lines[-1][:-9]]),
}
# Without these there is no proof or no result: whatever happens to them, the run cannot PASS.
NEEDED = ("plan.json", "run.json", *(f"{arm}/arm.json" for arm in ("baseline", "compressed")))
NEEDED_LINES = (
    *(
        f"{arm}/{name}.jsonl"
        for arm in ("baseline", "compressed")
        for name in ("samples-boolq", "samples-gsm8k", "fidelity", "engagement/rank-0", "engagement/rank-1")
    ),
    "compressed/engagement/live-rank-0.jsonl",
    "compressed/engagement/live-rank-1.jsonl",
)
# What a report does not need.
NOT_NEEDED = (
    "fingerprint.json",
    "report.json",
    "report.md",
    "report.svg",
    "baseline/server.log",
    "baseline/requests.jsonl",
)
# A lost last line of these is one sample in ten thousand of a check by samples.
SAMPLED = "live-rank"


def kinds() -> Iterator[Kind]:
    """Yield them; each says whether the short form has it."""
    in_short = {"compressed/samples-boolq.jsonl", "baseline/engagement/rank-0.jsonl"}
    for name in (*NEEDED, *NEEDED_LINES, *NOT_NEEDED):
        yield _kind(name, short=name in in_short)
    for name, act in (
        ("both arm.json", partial(_without, "baseline/arm.json", "compressed/arm.json")),
        ("every log of a rank", partial(_without, "baseline/engagement", "compressed/engagement")),
        ("every sample", partial(_without, *(file for file in NEEDED_LINES if "samples" in file))),
        ("one arm", partial(_without, "compressed")),
        ("every log cut to its half", _all_logs_cut),
        ("the arms' samples are one another's", partial(_swapped, "samples-boolq.jsonl")),
        ("the arms' logs are one another's", partial(_swapped, "engagement")),
        ("samples of another run's questions", _other_questions),
        ("an answer is NaN", _nan),
        ("right is not what the answer says", _untrue),
    ):
        yield Kind(name=name, family="files", where="a finished run", expected=Expected(codes=(ERROR,)), act=act)
    yield Kind(
        name="report.md, .json and .svg are links",
        family="files",
        where="a finished run",
        expected=Expected(codes=(PASS, ERROR)),
        act=_links,
        short=True,
    )


def _kind(name: str, *, short: bool = False) -> Kind:
    count = len(damages_of(name))
    return Kind(
        name=name,
        family="files",
        where=f"a finished run, damaged in {count} ways",
        expected=Expected(codes=(ERROR,) if name in NEEDED + NEEDED_LINES else (PASS, ERROR)),
        act=partial(_damaged, name, count),
        short=short,
    )


def damaged_copy(lab: Lab, number: int) -> Path:
    """Return a copy of the finished run."""
    return Path(shutil.copytree(lab.reference, lab.reports / f"damaged-{number}", symlinks=True))


def _damaged(name: str, count: int, lab: Lab) -> Seen:
    found = in_worker(lab, f"damages:{name}", count=count)
    return Seen(problems=found["problems"], cases=count, note=found["note"])


def damage_all(lab: Lab, name: str, rebuild: Callable[[Path], tuple[int, str]]) -> dict[str, Any]:
    """Damage a file in each way, build the report again, and return the `problems` and a `note`."""
    problems, codes = [], Counter[int]()
    for number, (what, damage) in enumerate(damages_of(name).items()):
        folder = damaged_copy(lab, number)
        damage(folder / name)
        code, said = rebuild(folder)
        codes[code] += 1
        if code not in ((ERROR,) if name in NEEDED + NEEDED_LINES else (PASS, ERROR)):
            problems.append(f"{what}: ends with {NAMES.get(code, code)}")
        problems += [f"{what}: {problem}" for problem in words_problems(said)]
    return {
        "problems": problems,
        "note": ", ".join(f"{number} {NAMES.get(code, str(code))}" for code, number in codes.items()),
    }


def damages_of(name: str) -> dict[str, Damage]:
    """Return the ways to damage a file of a run."""
    return DAMAGES | (OF_LINES if name in NEEDED_LINES and SAMPLED not in name else {})


def _without(*names_and_lab: str | Lab) -> Seen:
    *names, lab = names_and_lab
    assert isinstance(lab, Lab)
    folder = damaged_copy(lab, 0)
    for name in names:
        path = folder / str(name)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return Seen(ended=[lab.rebuild(folder)])


def _all_logs_cut(lab: Lab) -> Seen:
    """Cut at the end of a line, in every log alike: nothing in them says that anything is missing."""
    folder = damaged_copy(lab, 0)
    for file in folder.glob("*/engagement/*rank-*.jsonl"):
        OF_LINES["the second half lost"](file)
    return Seen(ended=[lab.rebuild(folder)])


def _swapped(name: str, lab: Lab) -> Seen:
    folder = damaged_copy(lab, 0)
    baseline, compressed, aside = folder / "baseline" / name, folder / "compressed" / name, folder / "aside"
    baseline.rename(aside)
    compressed.rename(baseline)
    aside.rename(compressed)
    ended = lab.rebuild(folder)
    # Answers that are equal in both arms tell nobody whose they are.
    return Seen(ended=[] if name.startswith("samples") and ended.code == PASS else [ended])


def _changed_samples(lab: Lab, change: Callable[[dict[str, object]], None]) -> Seen:
    folder = damaged_copy(lab, 0)
    file = folder / "compressed" / "samples-boolq.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for row in rows:
        change(row)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Seen(ended=[lab.rebuild(folder)])


def _other_questions(lab: Lab) -> Seen:
    return _changed_samples(lab, lambda row: row.update(doc_hash="another", prompt_hash="another"))


def _nan(lab: Lab) -> Seen:
    return _changed_samples(lab, lambda row: row.update(logprobs=[float("nan"), -1.0]))


def _untrue(lab: Lab) -> Seen:
    return _changed_samples(lab, lambda row: row.update(right=not row["right"]))


def _links(lab: Lab) -> Seen:
    """A report must not be written through a link: the file it leads to is somebody else's."""
    folder, victim = damaged_copy(lab, 0), lab.place / "victim"
    victim.write_text("mine")
    for name in ("report.json", "report.md", "report.svg", "report.json.partial", "report.md.partial"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(victim)
    seen = Seen(ended=[lab.rebuild(folder)])
    if victim.read_text() != "mine":
        seen.problems.append("a file outside of the run's folder was written through a link")
    if seen.ended[0].code == PASS and read_report(folder) is None:
        seen.problems.append("there is no report")
    return seen
