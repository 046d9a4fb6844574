"""Finds out what each release of SGLang compresses: `nox -s compat`.

Exit code 0 where every release is as harness/plan/flag_coverage.py says, 1 where one is not, 3 where one could not be
looked at.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from harness.errors import HarnessError
from harness.places import ROOT, model_place
from harness.prepare.models import prepare_model
from harness.serve.answers import RequestFailed
from suites.compat.count import Counted, count
from suites.compat.release import ask
from suites.compat.table import CLASSES, Seen, Table, lines, merged, placed, wrong

PASS, FAIL, ERROR = 0, 1, 3
# The short form starts one server: the oldest release's, of the class that every release compresses.
SHORT = ("random-qwen3",)
# What was ever found goes into the document; a night's own lies beside its reports.
KEPT = ROOT / "docs" / "measurements" / "compatibility.json"
TONIGHT = ROOT / "reports" / "compatibility.json"
DOCUMENT = ROOT / "docs" / "compatibility.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Look at the releases that are named, and return an exit code."""
    parser = argparse.ArgumentParser(prog="nox -s compat --", description=__doc__, allow_abbrev=False)
    parser.add_argument("--release", action="append", required=True, help="VERSION=PYTHON, the oldest first")
    parser.add_argument(
        "--short", action="store_true", help="one server alone, of the first release: the form for CI"
    )
    parser.add_argument("--models", default="", help="these models' servers alone, by comma")
    parser.add_argument("--write", action="store_true", help="into docs/compatibility.md")
    chosen = parser.parse_args(arguments)
    pythons = dict(pair.split("=", 1) for pair in chosen.release)
    plugin = Path(os.environ["HARNESS_PLUGIN_PATH"])
    models = [model for model in CLASSES if model in (chosen.models.split(",") if chosen.models else CLASSES)]
    found: dict[str, Seen] = {}
    kept, old = TONIGHT, Table(releases={})
    if chosen.write:
        kept, old = KEPT, Table.model_validate_json(KEPT.read_text(encoding="utf-8"))
    try:
        for model in SHORT if chosen.short else models:
            prepare_model(f".cache/models/{model}", Path(os.environ["HARNESS_SERVER_PYTHON"]), device="cpu")
        for release, python in pythons.items():
            servers = models if not chosen.short else SHORT if release == next(iter(pythons)) else ()
            found[release] = look(release, Path(python), plugin, servers)
            # As it comes: an hour's servers are not lost with the last of them.
            kept.write_text(merged(old, found).model_dump_json(indent=1) + "\n", encoding="utf-8")
    except HarnessError as error:
        sys.stderr.write(f"ERROR\n{error}\n")
        return ERROR
    if chosen.write:
        written = placed(DOCUMENT.read_text(encoding="utf-8"), merged(old, found))
        DOCUMENT.write_text(written, encoding="utf-8")
    sys.stdout.write("\n".join(lines(Table(releases=found))) + "\n")
    faults = [f"{release}: {fault}" for release, seen in found.items() for fault in wrong(release, seen)]
    sys.stdout.write("".join(f"{fault}\n" for fault in faults))
    return FAIL if faults else PASS


def look(release: str, python: Path, plugin: Path, models: Sequence[str]) -> Seen:
    """Find everything out of one release.

    Args:
        release: Its version.
        python: The interpreter that has it.
        plugin: The folder that carries the plugin.
        models: Whose servers are started.

    Raises:
        HarnessError: The interpreter has another release, or gave no answer.
    """
    sys.stdout.write(f"SGLang {release}: its arguments, plugin and gate\n")
    sys.stdout.flush()
    asked = ask(python, plugin)
    if asked.version != release:
        raise HarnessError(f"{python} has SGLang {asked.version}, not {release}")
    counted: dict[str, Counted] = {}
    failed: dict[str, str] = {}
    for model in models:
        sys.stdout.write(f"SGLang {release}: a server of {model}\n")
        sys.stdout.flush()
        with tempfile.TemporaryDirectory() as folder:
            try:
                place = Path(model_place(f".cache/models/{model}"))
                counted[model] = count(python, plugin, place, Path(folder) / "run")
            except (HarnessError, RequestFailed, OSError) as error:
                failed[model] = str(error)
    return Seen(date=f"{datetime.now(UTC):%Y-%m-%d}", asked=asked, counted=counted, failed=failed)


if __name__ == "__main__":
    sys.exit(main())
