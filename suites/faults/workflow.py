"""What the nightly workflow must say, so that no environment is taken for another and nothing is shown around."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from ruamel.yaml import YAML

from harness.places import ROOT
from suites.faults.kinds import PASS, Expected, Kind, Seen
from suites.faults.lab import Lab

WORKFLOW = ROOT / ".github" / "workflows" / "nightly.yml"
Step = dict[str, Any]


def kinds() -> Iterator[Kind]:
    """Yield them; each says whether the short form has it."""
    for name, find in (
        ("a cache of another Python's environments", cache_problems),
        ("servers' logs among the uploaded reports", artifact_problems),
        ("an action whose tag was moved", action_problems),
    ):
        yield Kind(
            name=name,
            family="doors",
            where="the nightly workflow",
            expected=Expected(codes=(PASS,)),
            act=partial(_look, find),
            short=True,
        )


def _look(find: Callable[[list[Step]], list[str]], _lab: Lab) -> Seen:
    return Seen(problems=find(steps(WORKFLOW.read_text(encoding="utf-8"))), note="by what the file says")


def steps(text: str) -> list[Step]:
    """Return every step of every job of a workflow."""
    jobs = YAML(typ="safe", pure=True).load(text)["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


def cache_problems(found: list[Step]) -> list[str]:
    """Return what the key of environments lacks: the Python that made them, and what they were locked to."""
    python = next((step["id"] for step in found if "setup-python@" in step.get("uses", "") and "id" in step), "")
    wanted = (f"steps.{python}.outputs.python-version", "hashFiles('requirements/*')")
    caches = [step["with"] for step in found if "actions/cache@" in step.get("uses", "")]
    keys = [str(cache["key"]) for cache in caches if ".nox" in str(cache["path"]).split()]
    return [f"the cache's key {key!r} lacks {part}" for key in keys for part in wanted if part not in key]


def artifact_problems(found: list[Step]) -> list[str]:
    """Return which uploads hold servers' logs without being asked to, or the baseline's hidden states."""
    uploads = [str(step["with"]["path"]) for step in found if "upload-artifact@" in step.get("uses", "")]
    # Whole folders: what names its files one by one holds no others.
    whole = [path for path in uploads if "reports" in path.split()]
    problems = [] if whole else ["no reports are uploaded"]
    for path in whole:
        lines = [line.strip() for line in path.splitlines()]
        if not any("!reports/**/server.log" in line and ("inputs." in line or line[0] == "!") for line in lines):
            problems.append(f"servers' logs are uploaded: {path!r}")
        if not any(line.startswith("!reports/**/reference") for line in lines):
            problems.append(f"hidden states are uploaded: {path!r}")
    return problems


def action_problems(found: list[Step]) -> list[str]:
    """Return the actions that are not pinned by a commit."""
    used = [str(step["uses"]) for step in found if "uses" in step]
    return [f"{use} is not pinned by a commit" for use in used if not re.search(r"@[0-9a-f]{40}$", use)]
