"""What is installed is what the locks say, hash by hash."""

import re
from pathlib import Path

import pytest

import environments
import locks

UNLOCKED = {"torch", "server-npu"}
ASKED = sorted(file for file in environments.REQUIREMENTS.glob("**/*.txt") if file.stem not in UNLOCKED)
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)", re.MULTILINE)


def named(name: str) -> str:
    """Return a package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(text: str) -> dict[str, str]:
    """Return the exact versions that a file of requirements names."""
    return {named(name): version for name, version in PIN.findall(text)}


def name_of(file: Path) -> str:
    return str(file.relative_to(environments.REQUIREMENTS)).rpartition(".")[0]


def test_there_is_a_lock_for_each_file_of_requirements() -> None:
    assert {name_of(file) for file in ASKED} == set(locks.LOCKS)
    assert {name_of(file) for file in environments.REQUIREMENTS.glob("**/*.lock")} == set(locks.LOCKS)


@pytest.mark.parametrize("asked", ASKED, ids=name_of)
def test_a_lock_holds_what_is_asked_for_each_with_a_hash(asked: Path) -> None:
    text = asked.with_name(f"{asked.stem}.lock").read_text()
    locked = pins(text)
    wanted = {name: version for name, version in pins(asked.read_text()).items() if name != "torch"}
    assert wanted.items() <= locked.items()
    entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(entries) == len(locked)
    assert not [entry for entry in entries if "--hash=sha256:" not in entry]
    # An index's address is its user's own.
    assert "://" not in text


def test_torch_and_what_its_build_brings_are_in_no_lock() -> None:
    for name in locks.LOCKS:
        locked = pins((environments.REQUIREMENTS / f"{name}.lock").read_text())
        assert not [package for package in locked if package.startswith(("torch", "triton", "nvidia-", "cuda-"))]
    asked = pins((environments.REQUIREMENTS / "server-cpu.txt").read_text())
    assert asked["torch"] == pins((environments.REQUIREMENTS / "torch.txt").read_text())["torch"]


def test_a_lock_is_cleared_of_packages_by_the_beginning_of_their_names() -> None:
    locked = "# head\na==1 \\\n    --hash=x\n    # via b\nnvidia-b==2 \\\n    --hash=y\ntorch==3 \\\n    --hash=z\n"
    assert locks.without(locked + "torchmetrics==1 \\\n    --hash=w\n", ("torch", "nvidia-")) == (
        "# head\na==1 \\\n    --hash=x\n    # via b\ntorchmetrics==1 \\\n    --hash=w\n"
    )


def test_the_developers_tools_change_nothing_of_the_harnesss() -> None:
    harness, dev = (pins((environments.REQUIREMENTS / f"{name}.lock").read_text()) for name in ("harness", "dev"))
    assert {name: version for name, version in dev.items() if name in harness} == {
        name: harness[name] for name in dev if name in harness
    }


def test_workflows_take_actions_by_their_commit() -> None:
    for file in (environments.ROOT / ".github" / "workflows").glob("*.yml"):
        used = re.findall(r"uses: (\S+)", file.read_text())
        assert used
        assert not [action for action in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action)]
