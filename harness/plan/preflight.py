"""What can be found wrong in seconds is found before a server takes minutes."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.places import cache
from harness.plan.flag_coverage import model_class
from harness.plan.flag_coverage import problems as coverage_problems
from harness.plan.plan import PORT, Arm, Plan
from harness.safety import harmless
from harness.sglang_plugin.policy import parse

TIMEOUT_S = 300
SHOWN_STDERR = 2000


@dataclass(frozen=True, kw_only=True)
class Sglang:
    """The SGLang that will run.

    Attributes:
        version: Its version.
        settings: The names of all its server arguments.
        packages: What else is installed beside it, in one line that changes when any of it does.
        plugin: SHA-256 over the plugin and the collective, as its interpreter finds them.
        spelled: Arguments of its servers that it has under another name, with that name.
        every_package: The version of everything that is installed there, by its name.
    """

    version: str
    settings: frozenset[str]
    packages: str
    plugin: str
    spelled: Mapping[str, str] = field(default_factory=dict)
    every_package: Mapping[str, str] = field(default_factory=dict)

    def arms(self, arms: Sequence[Arm]) -> list[Arm]:
        """Return the arms with their arguments as this release spells them."""
        return [
            arm.model_copy(update={"argv": [self.spelled.get(argument, argument) for argument in arm.argv]})
            for arm in arms
        ]


def check_plan(plan: Plan) -> Sglang:
    """Ask whether the SGLang of a run takes its servers; returns and errors as for `check_sglang`."""
    settings = plan.arms[0].settings
    needed = {"ranks": 1 if settings.one_gpu else plan.tp, "servers": 2 if plan.together else 1}
    # A calibration switches the flag on nowhere.
    expected = None if plan.calibrates else (model_class(plan.model_path), plan.sites)
    choices = parse(plan.policy).choices() if plan.policy else []
    named = [settings.codec, settings.claims, *(name for choice in choices for name in (choice.codec, choice.claims))]
    return check_sglang(
        plan.server_python,
        plan.arms,
        codecs=[name for name in dict.fromkeys(named) if name],
        gpus=needed if plan.device == "cuda" else None,
        npus=needed if plan.device == "npu" else None,
        expected=expected,
    )


def check_sglang(
    server_python: str,
    arms: list[Arm],
    *,
    gpus: dict[str, int] | None,
    npus: dict[str, int] | None = None,
    codecs: Sequence[str] = (),
    candidates: Sequence[tuple[str, str, int]] = (),
    expected: tuple[str, Sequence[str]] | None = None,
) -> Sglang:
    """Ask the SGLang that will run whether it takes both arms' arguments, and sees the plugin and enough GPUs.

    Args:
        server_python: The interpreter that has it.
        arms: The servers that it is to run.
        gpus: Where they run on NVIDIA GPUs, how many `ranks` each has and how many `servers` are up at once.
        npus: The same of NPUs.
        codecs: Every codec that they are to know, by name or as `module:function`.
        candidates: What virtual ranks are to compute: codec, algorithm and number of ranks.
        expected: The model's class, and where the flag is expected to compress in it; None without the flag.

    Returns:
        What it is.

    Raises:
        HarnessError: It does not; all problems at once.
    """
    request = {
        # From `serve` on; the parser wants a number where the plan has a placeholder.
        "arms": {arm.name: ["1" if argument == PORT else argument for argument in arm.argv[2:]] for arm in arms},
        "codecs": list(codecs),
        "candidates": list(candidates),
        "gpus": gpus,
        "npus": npus,
        "kept": str(cache() / "preflight"),
    }
    found = ask_interpreter(
        server_python, "harness.sglang_plugin.probe", request, arms[0].environment(), "examine its SGLang"
    )
    try:
        version, problems = str(found["sglang"]), found["problems"]
        settings, packages, plugin = frozenset(found["settings"]), str(found["packages"]), str(found["plugin"])
        spelled = {str(argument): str(own) for argument, own in found["spelled"].items()}
        every = {str(name): str(its_version) for name, its_version in found["every_package"].items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise HarnessError(f"{server_python} cannot examine its SGLang: its answer is none: {error!r}") from error
    if expected is not None:
        problems = [*problems, *coverage_problems(version, *expected)]
    if problems:
        raise HarnessError("\n".join(problems))
    return Sglang(
        version=version, settings=settings, packages=packages, plugin=plugin, spelled=spelled, every_package=every
    )


def ask_interpreter(
    server_python: str, module: str, request: dict[str, Any], environment: dict[str, str], what: str
) -> Any:  # noqa: ANN401 - JSON
    """Run a module of the plugin's in the server's interpreter and return its answer.

    Args:
        server_python: The interpreter.
        module: The module, which reads a request and writes an answer, both JSON.
        request: The request.
        environment: The environment that the servers get.
        what: What the interpreter is to do, for a failure's message.

    Raises:
        HarnessError: There was no answer.
    """
    try:
        done = subprocess.run(
            [server_python, "-m", module],
            input=json.dumps(request),
            env=environment,
            # Elsewhere than here: `-m` puts the working directory first, and the server will not see that.
            cwd=Path(server_python).parent,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=True,
        )
        return json.loads(done.stdout)
    except subprocess.TimeoutExpired as error:
        raise HarnessError(f"{server_python} did not import SGLang within {TIMEOUT_S} s") from error
    except subprocess.CalledProcessError as error:
        raise HarnessError(
            f"{server_python} cannot {what} (exit code {error.returncode}):\n{harmless(error.stderr[-SHOWN_STDERR:])}"
        ) from error
    except OSError as error:
        raise HarnessError(f"{server_python} cannot {what}: {error}") from error
    except ValueError as error:
        raise HarnessError(f"{server_python} cannot {what}: its answer is none: {error!r}") from error
