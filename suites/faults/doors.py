"""Who could read, write or steer what he should not: secrets, keys, modes, arguments, hostile files."""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from harness.places import ROOT
from suites.faults.invariants import differences
from suites.faults.kinds import ERROR, PASS, Expected, Kind, Seen
from suites.faults.lab import SUITE, SUITE_TEXT, Lab

SECRET = "hf_A1b2C3d4E5f6G7h8"  # noqa: S105 - looked for in files
SECRET_NAMES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "SGLANG_API_KEY", "HF_PASSWORD", "TORCH_SECRET")
# Arguments that a suite must not give to the server: SGLang takes them abbreviated too.
REFUSED_ARGUMENTS = (
    "--trust-remote-code",
    "--hos=0.0.0.0",
    "--host=0.0.0.0",
    "--api=mine",
    "--por=1",
    "--mod=/elsewhere",
    "--config=mine.yaml",
    "--conf=mine.yaml",
    "--enable-quant-communications",
    "--enable-quant-comm",
    "--admin-api-key=mine",
    "--tp=3",
    "--device=cuda",
)
# What SGLang's own parser has to be asked about.
REFUSED_BY_SGLANG = ("--trust-remote", "--enable-hierarchical-cache")
# A second is what a hostile file may cost, beside the start of Python and its imports.
QUICK_S = 8.0
OVERLAPPING = 4


def kinds() -> Iterator[Kind]:
    """Yield them; each says whether the short form has it."""
    family = "doors"
    passes, refused = Expected(codes=(PASS,)), Expected(codes=(ERROR,), within_s=QUICK_S)
    for name, act in (
        ("secrets in the environment", _secrets),
        ("the key in a command line", _key_in_a_command_line),
        ("the run's folder is for its owner", _modes),
        ("`latest` is a folder", _latest_is_a_folder),
        ("`latest` leads nowhere", _latest_leads_nowhere),
        ("reports/ is a link", _reports_is_a_link),
        ("a proxy in the environment", _proxy),
    ):
        short = act in {_secrets, _key_in_a_command_line, _modes, _latest_is_a_folder}
        yield Kind(name=name, family=family, where="a run", expected=passes, act=act, short=short)
    for argument in REFUSED_ARGUMENTS:
        yield Kind(
            name=f"a suite gives the server {argument}",
            family=family,
            where="suite",
            expected=refused,
            act=partial(_argument, argument),
        )
    for argument in REFUSED_BY_SGLANG:
        yield Kind(
            name=f"a suite gives the server {argument}",
            family=family,
            where="suite, SGLang's own parser",
            expected=Expected(codes=(ERROR,), says=argument),
            act=partial(_argument_of_sglang, argument),
            real=True,
        )
    for name, text in (
        ("an alias bomb", _alias_bomb()),
        ("YAML nested 5,000 deep", SUITE_TEXT.replace("[--random-seed=0]", "[" * 5000 + "]" * 5000)),
        ("a key that is a list", "? [a, b]\n: c\n"),
        ("a tag that makes an object", "!!python/object/apply:os.system ['true']\n"),
        ("a megabyte of one key", "a" * 1_000_000),
        ("an integer of a million digits", SUITE_TEXT.replace("tp: 2", f"tp: {'9' * 1_000_000}")),
        ("an anchor that holds itself", "&a [*a]\n"),
        ("NUL and escapes", "description: \x00\x1b[31m\n"),
        ("UTF-16", SUITE_TEXT.encode("utf-16").decode("latin-1")),
    ):
        for where in ("suite", "thresholds"):
            yield Kind(
                name=f"{name} in the {where}",
                family=family,
                where=where,
                expected=refused,
                act=partial(_hostile, where, text),
                short=where == "suite" and name in {"an alias bomb", "YAML nested 5,000 deep"},
            )
    yield Kind(
        name="a stranger on the given port",
        family=family,
        where="before the start",
        expected=Expected(codes=(ERROR,), says="taken"),
        act=_port_taken,
        short=True,
    )
    yield Kind(
        name=f"{OVERLAPPING} overlapping starts of nox",
        family=family,
        where="`nox -s accuracy` in a fresh checkout, no plugin made yet",
        expected=Expected(codes=(PASS,), within_s=180),
        act=_overlapping,
    )
    yield Kind(
        name="preparation without an index",
        family=family,
        where="`nox -s accuracy` in a fresh checkout",
        expected=Expected(codes=(ERROR,), within_s=120),
        act=partial(_without_index, lambda _checkout: None),
    )
    yield Kind(
        name="preparation over a half-made environment, without an index",
        family=family,
        where="`nox -s accuracy`, .nox/harness cut short",
        expected=Expected(codes=(ERROR,), within_s=120),
        act=partial(_without_index, _half_made),
    )


def _fresh(lab: Lab) -> Path:
    """Return a fresh checkout, without environments."""
    checkout = lab.place / "fresh"
    ignore = shutil.ignore_patterns(".git", ".nox", ".cache", "__pycache__", "reports")
    shutil.copytree(ROOT, checkout, ignore=ignore)
    lab.checkout = checkout
    return checkout


def _overlapping(lab: Lab) -> Seen:
    """Several nox at once, of which one has to make the plugin's folder that all of them use."""
    nox, environment = Path(sys.executable).parent / "nox", Path(sys.prefix)
    suite = (f"--suite={lab.suite}", f"--thresholds={lab.thresholds}", f"--server-python={lab.python}")
    checkout = _fresh(lab)
    lock = hashlib.sha256((checkout / "requirements" / "harness.lock").read_bytes()).hexdigest()
    stamp = environment / ".installed-harness.txt"
    if not nox.exists() or not stamp.exists() or stamp.read_text() != lock:
        return Seen(note="not run: this Python is not nox's environment of the harness", cases=0)
    # What is whole is not touched: a link to it will do.
    (checkout / ".nox").mkdir()
    (checkout / ".nox" / "harness").symlink_to(environment)
    own = (*suite, f"--model-path={lab.model}", f"--data-folder={lab.raw}", f"--reports={lab.reports}")
    running = [lab.start([str(nox), "-s", "accuracy", "--", *own]) for _ in range(OVERLAPPING)]
    ended = [run.wait() for run in running]
    runs = [path for path in lab.reports.iterdir() if path.is_dir() and not path.is_symlink()]
    problems = [f"{run.name}: {text}" for run in runs for text in differences(lab.reference, run)]
    plugins = [path.name for path in (checkout / ".nox" / "plugin").iterdir()]
    if len(plugins) != 1 or plugins[0].startswith("."):
        problems.append(f"one plugin is left as {plugins}")
    return Seen(ended=ended, problems=problems, cases=OVERLAPPING)


def _secrets(lab: Lab) -> Seen:
    ended = lab.run(env=dict.fromkeys(SECRET_NAMES, SECRET))
    folder = lab.latest or lab.reports
    found = [file.name for file in folder.rglob("*") if file.is_file() and SECRET.encode() in file.read_bytes()]
    problems = [f"{file} holds the secret" for file in sorted(set(found))]
    if SECRET in ended.said:
        problems.append("the output holds the secret")
    return Seen(ended=[ended], problems=problems, cases=len(SECRET_NAMES))


def _key_in_a_command_line(lab: Lab) -> Seen:
    ended = lab.run()
    told = [line for line in lab.journal() if line["event"] == "key in a command line"]
    problems = (
        ["every user of the machine can read the server's key in a command line"]
        if (not told or any(line["number"] for line in told))
        else []
    )
    return Seen(ended=[ended], problems=problems)


def _modes(lab: Lab) -> Seen:
    ended = lab.run()
    folder = lab.latest or lab.reports
    mode = folder.stat().st_mode & 0o777
    return Seen(ended=[ended], problems=[f"the run's folder has mode {mode:o}"] if mode != 0o700 else [])


def _latest(lab: Lab) -> list[str]:
    link = lab.reports / "latest"
    there = lab.latest and lab.latest.resolve()
    return [] if not link.is_symlink() or link.resolve() == there else ["`latest` leads to another run"]


def _latest_is_a_folder(lab: Lab) -> Seen:
    (lab.reports / "latest").mkdir()
    (lab.reports / "latest" / "mine").write_text("mine")
    ended = lab.run()
    kept = (lab.reports / "latest" / "mine").exists()
    return Seen(ended=[ended], problems=[] if kept else ["somebody's folder was replaced"])


def _latest_leads_nowhere(lab: Lab) -> Seen:
    (lab.reports / "latest").symlink_to("nowhere")
    return Seen(ended=[lab.run()], problems=_latest(lab))


def _reports_is_a_link(lab: Lab) -> Seen:
    elsewhere = lab.place / "elsewhere"
    lab.reports.rename(elsewhere)
    lab.reports.symlink_to(elsewhere)
    return Seen(ended=[lab.run()], problems=_latest(lab))


def _proxy(lab: Lab) -> Seen:
    """One that nothing answers at: requests to our own server must not go there."""
    nowhere = "http://127.0.0.1:9"
    return Seen(ended=[lab.run(env=dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY"), nowhere))])


def _port_taken(lab: Lab) -> Seen:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        return Seen(ended=[lab.run(f"--port={other.getsockname()[1]}")])


def _argument(argument: str, lab: Lab) -> Seen:
    lab.suite.write_text(SUITE_TEXT.replace("--random-seed=0", argument))
    return Seen(ended=[lab.run()])


def _argument_of_sglang(argument: str, lab: Lab) -> Seen:
    lab.python.write_text(f'#!/bin/sh\nexec {os.environ["HARNESS_SERVER_PYTHON"]} "$@"\n')
    shutil.rmtree(lab.plugin)
    shutil.copytree(os.environ["HARNESS_PLUGIN_PATH"], lab.plugin)
    return _argument(argument, lab)


def _hostile(where: str, text: str, lab: Lab) -> Seen:
    (lab.suite if where == "suite" else lab.thresholds).write_text(text)
    return Seen(ended=[lab.run()])


def _alias_bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 12)]
    return SUITE_TEXT + "\n".join(lines) + "\n"


def _half_made(checkout: Path) -> None:
    """Leave what an installation that was killed leaves: a Python, and half of what belongs to it."""
    subprocess.run([sys.executable, "-m", "venv", str(checkout / ".nox" / "harness")], check=True)
    for folder in (checkout / ".nox" / "harness").rglob("site-packages/pip"):
        shutil.rmtree(folder)


def _without_index(before: Callable[[Path], None], lab: Lab) -> Seen:
    nox = Path(sys.executable).parent / "nox"
    if not nox.exists():
        return Seen(note="not run: there is no nox beside this Python", cases=0)
    before(_fresh(lab))
    offline = {"PIP_NO_INDEX": "1", "UV_OFFLINE": "1", "UV_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    return Seen(ended=[lab.start([str(nox), "-s", "accuracy", "--", f"--suite={SUITE}"], env=offline).wait()])
