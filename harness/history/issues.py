"""Opens an issue for each cause of a red night and closes it when its part is green again, by GitHub's `gh`.

    python -m harness.history.issues night.json [--page URL]

Standard library alone: it runs in a job of its own, the only one that may write issues, where nothing is installed.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LABEL = "nightly"
MARK = re.compile(r"<!-- nightly-cause: ([0-9a-f]{16}) (.*?) -->")
# GitHub takes 256 letters in a title, 65,536 in a body.
TITLE, BODY = 200, 20_000
# Of a part in none of these nothing is known: its issues stay as they are.
GREEN = ("PASS",)
MOST = 1000


def cause_id(key: str) -> str:
    """Return what an issue's body is marked with."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def body_of(cause: dict[str, Any], night: dict[str, Any], page: str) -> str:
    """Return an issue's body: the words of a model or a server in it are a block of code, which nothing ends."""
    text = "\n".join((cause["text"], *cause["details"]))[:BODY].replace("`", "'")
    where = f"\n\nReport and trend: {page}" if page else ""
    return (
        f"First seen in the night of {night['date']}.\n\n```text\n{text}\n```{where}\n\n"
        f"It is closed by the first night in which its part is green.\n\n"
        f"<!-- nightly-cause: {cause_id(cause['key'])} {part_of(cause['part'])} -->\n"
    )


def part_of(name: str) -> str:
    """Return a part's name as issues are marked with it: a suite's file name must not end the comment."""
    return re.sub(r"[^\w .-]", "?", name)


def gh(*arguments: str, text: str | None = None) -> str:
    """Run `gh` and return what it prints.

    Raises:
        SystemExit: It failed, or is not there.
    """
    try:
        done = subprocess.run(
            ["gh", *arguments],  # noqa: S607 - the runner's own
            input=text,
            capture_output=True,
            text=True,
            check=True,
        )
    except OSError as error:
        raise SystemExit(f"gh cannot be started: {error}") from error
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"gh {' '.join(arguments[:2])} failed: {error.stderr.strip()}") from error
    return done.stdout


def settle(night: dict[str, Any], page: str) -> list[str]:
    """Open and close issues, and say in words what was done.

    Args:
        night: A NightReport, as JSON holds it.
        page: Where the night's page is, or empty.
    """
    listed = gh("issue", "list", "--label", LABEL, "--state", "open", "--limit", str(MOST), "--json", "number,body")
    is_open = {
        found[1]: (int(issue["number"]), found[2])
        for issue in json.loads(listed)
        if (found := MARK.search(issue["body"]))
    }
    done = []
    wrong = {cause_id(cause["key"]): cause for part in night["parts"] for cause in part["causes"]}
    if wrong.keys() - is_open.keys():
        gh("label", "create", LABEL, "--force", "--description", "A cause of a red night")
    for name, cause in wrong.items():
        if name in is_open:
            done.append(f"#{is_open[name][0]} is still open: {cause['part']}")
            continue
        title = " ".join(f"nightly: {cause['part']}: {cause['text']}".split())[:TITLE]
        made = gh(
            "issue",
            "create",
            "--title",
            title,
            "--label",
            LABEL,
            "--body-file",
            "-",
            text=body_of(cause, night, page),
        )
        done.append(f"opened {made.strip()}")
    green = {part_of(part["name"]) for part in night["parts"] if part["verdict"] in GREEN}
    for name, (number, part) in is_open.items():
        if name not in wrong and part in green:
            gh("issue", "close", str(number), "--comment", f"Green in the night of {night['date']}.")
            done.append(f"closed #{number}: {part}")
    return done


def main(arguments: Sequence[str] | None = None) -> None:
    """Read a night's file and settle its issues."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("night", type=Path, help="night.json of the night")
    parser.add_argument("--page", default="", help="where the report can be seen")
    chosen = parser.parse_args(arguments)
    for line in settle(json.loads(chosen.night.read_text(encoding="utf-8")), chosen.page):
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
