"""Models and data of a hub, from a cache such as a hub's library keeps, without any hub."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from suites.faults.invariants import differences
from suites.faults.lab import Ended, Lab

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_strays")]
NAME = "nobody/Nothing-7B"
OLD, NEW = "0" * 40, "1" * 40


class Hub:
    """The cache of a hub, and a hub that notes whether it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                return

            def do_GET(self) -> None:
                hub.asked.append(self.path)
                self.send_error(404)

            do_HEAD = do_GET  # noqa: N815 - the base class's name

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        return {"HF_HOME": str(self.folder), "HF_ENDPOINT": f"http://127.0.0.1:{self.http.server_port}"}

    @property
    def model(self) -> Path:
        return self.folder / "hub" / f"models--{NAME.replace('/', '--')}"

    def add(self, commit: str, weights: bytes) -> None:
        """Put a commit of the model into the cache, as the newest."""
        snapshot = self.model / "snapshots" / commit
        snapshot.mkdir(parents=True)
        (snapshot / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
        (snapshot / "tokenizer.json").write_text("{}")
        (snapshot / "model.bin").write_bytes(weights)
        self.point(commit)

    def point(self, commit: str) -> None:
        """Have the model's name stand for a commit."""
        (self.model / "refs").mkdir(exist_ok=True)
        (self.model / "refs" / "main").write_text(commit)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    found = Hub(tmp_path / "hub")
    yield found
    found.http.shutdown()
    found.http.server_close()


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab.build(tmp_path / "lab")


def run(lab: Lab, hub: Hub, *arguments: str, compressed: str = "good", **env: str) -> Ended:
    """Run the lab's suite with the hub's model."""
    own = (f"--model-path={NAME}", *arguments)
    return lab.start(lab.accuracy(*own), {"compressed": compressed}, {**hub.environment, **env}).wait()


def model_of(folder: Path) -> str:
    return str(json.loads((folder / "plan.json").read_text())["model_path"])


def newest(lab: Lab) -> Path:
    assert lab.latest is not None
    return lab.latest


def test_all_arms_of_a_run_and_of_one_that_goes_on_get_the_commit_that_the_name_stood_for(lab: Lab, hub: Hub) -> None:
    offline = {"HF_HUB_OFFLINE": "1"}
    hub.add(OLD, b"weights")
    broken = run(lab, hub, compressed="dies-in-task@40", **offline)
    assert broken.code == 3, broken.said
    first = newest(lab)
    snapshot = str(hub.model / "snapshots" / OLD)
    assert model_of(first) == snapshot
    # The name stands for other weights now; the run goes on with those that it began with.
    hub.add(NEW, b"others!")
    resumed = lab.start(lab.harness("accuracy", f"--resume={first}"), env={**hub.environment, **offline}).wait()
    assert resumed.code == 0, resumed.said
    assert not list(differences(lab.reference, first))
    assert model_of(first) == snapshot
    # A new run has the new ones, for which the old baseline cannot stand.
    refused = run(lab, hub, f"--reuse-baseline={first}", **offline)
    assert refused.code == 3
    assert "weights model.bin:" in refused.said
    assert newest(lab) == first
    hub.point(OLD)
    reused = run(lab, hub, f"--reuse-baseline={first}", **offline)
    assert reused.code == 0, reused.said
    assert f"baseline: taken from {first}" in " ".join(reused.said.split())
    assert model_of(newest(lab)) == snapshot
    assert hub.asked == []


def test_a_dry_run_says_what_the_run_would_download_and_asks_no_hub(lab: Lab, hub: Hub) -> None:
    suite = yaml.safe_load(lab.suite.read_text())
    suite |= {"data": "hub", "tasks": {"arc_easy": {"questions": 4}}, "fidelity": {"tasks": {"arc_easy": 4}}}
    lab.suite.write_text(yaml.safe_dump(suite))
    row = {"metric": "acc,none", "report_only": True, "source": "here"}
    lab.thresholds.write_text(yaml.safe_dump({"models": {"Fault": {"arc_easy": row}}}))
    command = lab.harness("accuracy", f"--suite={lab.suite.stem}", f"--model-path={NAME}", "--dry-run")
    dry = lab.start(command, env=hub.environment).wait()
    assert dry.code == 0, dry.said
    for what in (f"the model {NAME} (revision newest)", "allenai/ai2_arc ARC-Easy"):
        assert f"not here yet, the run downloads it from the hub: {what}; a dry run asks no hub" in dry.said
    assert hub.asked == []
    # Who forbids to ask a hub forbids it to the run too.
    forbidden = lab.start(command, env={**hub.environment, "HF_HUB_OFFLINE": "1"}).wait()
    assert forbidden.code == 3
    assert (
        f"the model {NAME} (revision newest) is not in the hub's cache, and HF_HUB_OFFLINE forbids" in forbidden.said
    )
    hub.add(NEW, b"others!")
    forbidden = lab.start(command, env={**hub.environment, "HF_HUB_OFFLINE": "1"}).wait()
    assert "arc_easy: not in the hub's cache, and the hub is not asked: allenai/ai2_arc ARC-Easy" in forbidden.said
    # What is in the cache is what the run takes.
    hub.add(OLD, b"weights")
    found = lab.start(command, env=hub.environment).wait()
    assert f"Fault at {hub.model / 'snapshots' / OLD}, on cpu" in found.said
