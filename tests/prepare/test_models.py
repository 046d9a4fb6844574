"""Models of a hub, with a cache as the hub's own library leaves it; there is no network here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.places import ROOT
from harness.prepare.models import fetch_model
from tests.support import write_model

COMMITS = ("1" * 40, "2" * 40)
FETCH = """
import sys
from harness.errors import HarnessError
from harness.prepare.models import fetch_model
try:
    print(fetch_model(sys.argv[1], sys.argv[2] or None))
except HarnessError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """Write a hub's cache with two commits of one model; the second is the newest."""
    repository = tmp_path / "hub" / "models--some--model"
    for commit in COMMITS:
        write_model(repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMITS[1])
    return tmp_path


def fetched(hub: Path, name: str, revision: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "HF_HOME": str(hub), "HF_HUB_OFFLINE": "1", **variables}
    command = [sys.executable, "-c", FETCH, name, revision]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("revision", "commit"), [("", COMMITS[1]), (COMMITS[0], COMMITS[0])])
def test_a_hubs_name_is_resolved_to_a_folder_of_one_commit(hub: Path, revision: str, commit: str) -> None:
    found = fetched(hub, "some/model", revision)
    assert found.stdout.strip() == str(hub / "hub" / "models--some--model" / "snapshots" / commit), found.stderr


def test_a_model_that_is_out_of_reach_is_named(hub: Path) -> None:
    found = fetched(hub, "some/other")
    assert found.returncode == 1
    assert found.stderr.startswith("the model some/other (revision newest) cannot be fetched: ")
    assert "--model-path" in found.stderr


def test_what_another_hub_has_is_left_to_sglang(hub: Path) -> None:
    assert fetched(hub, "some/other", SGLANG_USE_MODELSCOPE="true").stdout == "some/other\n"


@pytest.mark.parametrize("path", ["/models/some/model", "./some/model", ".cache/models/one", "model", "harness/run"])
def test_what_is_no_hubs_name_is_left_as_it_is(path: str) -> None:
    assert fetch_model(path, None) == path
