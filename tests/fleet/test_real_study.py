"""A study over a node of Ray's with real CPU servers, by the command that people use, and the same on one server."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.places import ROOT, cache
from harness.study.records import Measured, read_measured
from tests.fleet.nodes import add_node, first_node

# Three servers: `nox -s campaigns`.
pytestmark = [
    pytest.mark.campaign,
    pytest.mark.server,
    pytest.mark.usefixtures("server_python", "no_strays"),
    # Ray's own processes and sockets outlive the test that began them by a moment.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
TINY = ("--codecs", "int8_token,int8_hadamard", "--texts", "2", "--questions", "2", "--no-sites")
# A bound against hanging, and no claim of speed.
PATIENCE_S = 2400


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Give the address of a cluster whose second node alone has room for a server, as a rack's head has none."""
    cluster = first_node()
    # Parts' scratch folders are where `no_strays` looks. And a store of its own: nothing comes back but through Ray.
    add_node(cluster, TMPDIR=str(tmp_path), HARNESS_CACHE=str(tmp_path / "host"))
    yield cluster.address
    cluster.shutdown()


def study(place: Path, *options: str) -> tuple[str, Path]:
    """Run a study with a store of its own; return what it said and its folder."""
    place.mkdir()
    for name in ("models", "data"):
        (place / name).symlink_to(cache() / name)
    done = subprocess.run(
        [sys.executable, "-m", "harness", "study", *TINY, f"--reports={place / 'reports'}", *options],
        cwd=ROOT,
        env={**os.environ, "HARNESS_CACHE": str(place)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, (place / "reports" / "latest-study").resolve()


def lines(folder: Path) -> list[Measured]:
    """Return everything that was measured, but for the time it took."""
    return [line.model_copy(update={"seconds": 0.0}) for line in read_measured(folder / "ranks-2")]


def content(folder: Path) -> dict[str, Any]:
    """Return a study's report, but for its name and the command that repeats it."""
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return {name: value for name, value in report.items() if name not in ("run_id", "repeat")}


def test_a_shared_study_leaves_what_one_server_leaves(tmp_path: Path, address: str) -> None:
    said, shared = study(tmp_path / "shared", "--ray", address, "--parts", "2")
    assert "4 measurements in 2 parts; 2 hosts, with room for 1 servers" in said
    # All of it was shared: none was left for a server of the study's own.
    assert not (shared / "ranks-2" / "server.log").exists()
    assert all((shared / "parts" / f"part-{number}" / "ranks-2" / "server.log").exists() for number in (1, 2))
    attempts = [json.loads(line) for line in (shared / "attempts.jsonl").read_text().splitlines()]
    assert {(attempt["task"], attempt["number"], attempt["error"]) for attempt in attempts} == {
        ("part-1", 1, ""),
        ("part-2", 1, ""),
    }
    said, single = study(tmp_path / "single")
    assert "in 2 parts" not in said
    assert lines(shared) == lines(single)
    assert content(shared) == content(single)
