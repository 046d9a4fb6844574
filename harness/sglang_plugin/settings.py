"""What the harness tells the plugin, through environment variables. Standard library only: both sides import it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from harness.sglang_plugin.policy import PLAIN, Choice, Policy, uniform

PREFIX = "HARNESS_PLUGIN_"
GO_POLL_S = 0.05


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The plugin's settings in one server; a field `name` travels as the variable HARNESS_PLUGIN_NAME.

    Attributes:
        dir: Where each rank writes its logs.
        codec: What stands behind the flag: a codec of harness.collective, `plain`, or `module:function`, an
            implementation under test, called as f(x, group).
        algorithm: Its algorithm.
        claims: The codec whose bound and bytes an implementation under test claims.
        check_every: The live check: every so many calls; 0 is off.
        capture: A file for the messages of one prefill: see harness.sglang_plugin.capture.
        study: The folder of what the harness exchanges with the server while it runs: see
            harness.sglang_plugin.study_folder. `dir` where none is named.
        reference: The `dir` of the server whose predictions of the fixed texts all others' are compared with, and
            which keeps them itself. None: only what the policy says is done with predictions.
        virtual_ranks: The layers of a server of one rank are cut into so many: see
            harness.sglang_plugin.virtual_ranks. 0 is off.
        one_gpu: Whether all ranks are on one GPU: see harness.sglang_plugin.one_gpu.
        go: On a CPU: a file that the launcher waits for, everything loaded, before it starts its ranks.
    """

    dir: Path
    codec: str = "int8_token"
    algorithm: str = "one_shot"
    claims: str | None = None
    check_every: int = 0
    capture: Path | None = None
    study: Path | None = None
    reference: Path | None = None
    virtual_ranks: int = 0
    one_gpu: bool = False
    go: Path | None = None

    @property
    def claimed(self) -> str:
        """The codec whose bound and bytes hold."""
        return self.claims or self.codec

    @property
    def predictions(self) -> str | None:
        """What is done with predictions where the policy does not say it: one of PREDICTIONS, or None."""
        if self.reference is None:
            return None
        return "reference" if self.reference == self.dir else "compare"

    def policy(self) -> Policy:
        """Return the policy that is in force as long as the study's folder has none."""
        plain = self.codec == PLAIN
        return uniform(None if plain else Choice(codec=self.codec, algorithm=self.algorithm, claims=self.claims))

    def wait_to_go(self) -> None:
        """Wait for the file, if there is one to wait for. Whoever waits for nothing is ended by the guard."""
        while self.go is not None and not self.go.exists():
            time.sleep(GO_POLL_S)

    def env(self) -> dict[str, str]:
        """Return the variables that say all this."""
        return {PREFIX + name.upper(): str(value) for name, value in vars(self).items() if value is not None}

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings | None":
        """Return what an environment says.

        Returns:
            None without HARNESS_PLUGIN_DIR: the server was not started by the harness.

        Raises:
            ValueError: A number is none; all problems at once.
        """
        names = {field.name: PREFIX + field.name.upper() for field in fields(cls)}
        given = {name: environ[variable] for name, variable in names.items() if variable in environ}
        if not given.get("dir"):
            return None
        problems = [
            f"{names[name]}={given[name]!r} is no count"
            for name in ("check_every", "virtual_ranks")
            if not given.get(name, "0").isdecimal()
        ]
        if given.get("virtual_ranks") == "1":
            problems.append(f"{names['virtual_ranks']}=1 cuts nothing: give 2 or more, or 0")
        if problems:
            raise ValueError("; ".join(problems))
        return cls(
            dir=Path(given["dir"]),
            codec=given.get("codec", cls.codec),
            algorithm=given.get("algorithm", cls.algorithm),
            claims=given.get("claims") or None,
            check_every=int(given.get("check_every", cls.check_every)),
            capture=Path(given["capture"]) if given.get("capture") else None,
            study=Path(given["study"]) if given.get("study") else None,
            reference=Path(given["reference"]) if given.get("reference") else None,
            virtual_ranks=int(given.get("virtual_ranks", cls.virtual_ranks)),
            one_gpu=given.get("one_gpu") == str(True),
            go=Path(given["go"]) if given.get("go") else None,
        )
