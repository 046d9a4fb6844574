"""A plan: pure data that says everything a run will do."""

import os
import shlex
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from harness.config.suite import Deadlines, KnownAnswer
from harness.config.thresholds import FidelityThreshold, PooledThreshold, Threshold
from harness.places import THRESHOLDS
from harness.sglang_plugin.policy import SITES, Policy, parse
from harness.sglang_plugin.settings import Settings
from harness.strict import Strict


class FidelityPlan(Strict):
    """Which fixed texts every arm predicts, and what is read of it.

    Attributes:
        texts: How many texts of which source, from the first on.
        of_tasks: Which of these sources are tasks of the run.
        max_tokens: Where a text is cut.
        concurrency: Texts sent at once, as one request; the same in all arms.
        threshold: What is accepted; None: a large shift is a warning.
    """

    texts: dict[str, int]
    of_tasks: list[str] = Field(default_factory=list)
    max_tokens: int
    concurrency: int
    threshold: FidelityThreshold | None

    def protocol(self) -> dict[str, Any]:
        """Return everything that decides what is asked and how it is read, for the report."""
        known = {"gsm8k": "question and gold solution", "boolq": "passage"}
        what = {**known, **dict.fromkeys(self.of_tasks, "question and right answer, as the task words them")}
        return {
            "texts": self.texts,
            "from": "the first of each; " + ", ".join(f"{source}: {what[source]}" for source in self.texts),
            "max_tokens": self.max_tokens,
            "compared": "by the server, over the whole vocabulary",
            "concurrency": self.concurrency,
            "bos": "what the tokenizer adds",
            "generated": 0,
        }

    def protocol_text(self) -> str:
        """Return the protocol in one line."""
        texts = ", ".join(f"{count} of {source}" for source, count in self.texts.items())
        return (
            f"{texts}; to {self.max_tokens} tokens; compared over the whole vocabulary; BOS: what the tokenizer adds"
        )


PORT = "<free port>"
# A file, for a command line can be read by everybody on the machine.
KEY_FILE = "<file with a random key>"
BASELINE = "baseline"
COMPRESSED = "compressed"
# The first one's settings, started afresh.
AGAIN = "baseline-again"


class Arm(Strict):
    """One server of the run.

    Attributes:
        name: `baseline`, `compressed` or `baseline-again`; of a calibration also `baseline-2` and so on.
        compressed: Whether the flag is on.
        argv: Its command; PORT and KEY_FILE stand for what is chosen at the start.
        env: Variables set on top of the harness's own environment.
        engagement: The folder where each rank's plugin writes its log.
    """

    name: str
    compressed: bool
    argv: list[str]
    env: dict[str, str]
    engagement: str

    def command(self, *, port: int, key_file: Path) -> list[str]:
        """Return the command with a port and the file that holds the key in it."""
        chosen = {PORT: str(port), KEY_FILE: str(key_file)}
        return [chosen.get(argument, argument) for argument in self.argv]

    def environment(self) -> dict[str, str]:
        """Return the whole environment that the server gets."""
        return {**os.environ, **self.env}

    @property
    def settings(self) -> Settings:
        """What its plugin is told."""
        return Settings.from_env(self.env) or Settings(dir=Path(self.engagement))

    @property
    def check_every(self) -> int:
        """The live check's interval in compressed calls; 0 for none, as in an arm that does not compress."""
        return self.settings.check_every if self.compressed else 0

    def shell(self) -> str:
        """Return the command and its variables as a shell takes them; $PORT and $KEY_FILE are the start's."""
        variables = [f"{name}={shlex.quote(value)}" for name, value in self.env.items()]
        chosen = {PORT: '"$PORT"', KEY_FILE: '"$KEY_FILE"'}
        words = [chosen.get(argument) or shlex.quote(argument) for argument in self.argv]
        return " \\\n    ".join((*variables, " ".join(words)))


class Chat(Strict):
    """How a task's prompts go through the model's chat template.

    Attributes:
        system: The system's turn; None for none.
        thinking: The template's thinking mode, on or off; None to leave it to the template.
    """

    system: str | None
    thinking: bool | None


class TaskPlan(Strict):
    """One task of the run.

    Attributes:
        file: Its lm-eval YAML.
        questions: How many questions, the first of the order of asking.
        concurrency: Questions asked at once, as one request; the same in both arms.
        max_new_tokens: Cap on generated tokens where the suite overrides the task's own.
        early_stop: Whether the task ends as soon as its verdict is certain.
        data_files: Split to file in the prepared data, where they are not those that the YAML names.
        chat: How its prompts go through the chat template; None where they go as they are.
        threshold: What is accepted.
    """

    file: str
    questions: int
    concurrency: int
    max_new_tokens: int | None
    early_stop: bool = False
    data_files: dict[str, str] | None = None
    chat: Chat | None = None
    threshold: Threshold


class Shard(Strict):
    """Which part of all questions and fixed texts a server is asked where an arm has several servers.

    Attributes:
        number: The part, from 0 on.
        of: How many there are.
    """

    number: Annotated[int, Field(ge=0)]
    of: Annotated[int, Field(gt=1)]


class Plan(Strict):
    """Everything a run does, and nothing that it finds out. Written to the run's folder as plan.json.

    Attributes:
        run_id: Name of the run and of its folder.
        suite: The suite's name.
        device: `cpu`, `cuda` or `npu`.
        model: The model's name in thresholds.yaml.
        model_path: Its folder or hub name.
        tp: Tensor-parallel ranks.
        server_python: The interpreter that runs SGLang.
        folder: The run's folder.
        data: The prepared data's folder.
        data_manifest: What the data is and hashes to.
        arms: The arms, in the order they run.
        tasks: The tasks, in the order they run.
        pooled: What all tasks that have a `max_drop` may lose together, or None.
        fidelity: The fixed texts that are predicted after the tasks, or None.
        known_answer: Asked before anything else.
        start_timeout_s: Seconds until a server that is not ready is given up.
        request_timeout_s: Seconds until a request counts as failed.
        deadlines: When the run is given up.
        port: A fixed port, or None for a free one.
        policy: What is compressed and how, where the suite's codec does not stand for all sums.
        sites: Where SGLang is expected to compress.
        together: Whether the baseline's and the compressed server are up at once.
        strict: Whether a WARNING makes the run a FAIL.
        shard: The part of all that is asked that this plan is of; None for the whole.
        reuse_baseline: The folder of the run whose baseline is taken, or None.
        allow_wider: Whether a calibration may propose a floor below today's.
        repeat: The command that repeats the run.
        thresholds: The file of thresholds.
        refused: Why the plan could not be carried out on this machine; only a dry run's plan has any.
    """

    run_id: str
    suite: str
    device: str
    model: str
    model_path: str
    tp: int
    server_python: str
    folder: str
    data: str
    data_manifest: dict[str, Any]
    arms: list[Arm]
    tasks: dict[str, TaskPlan]
    pooled: PooledThreshold | None = None
    fidelity: FidelityPlan | None = None
    known_answer: KnownAnswer
    start_timeout_s: int
    request_timeout_s: int
    deadlines: Deadlines = Deadlines()
    port: int | None
    policy: dict[str, Any] | None = None
    sites: list[str] = Field(default_factory=lambda: list(SITES))
    together: bool = False
    strict: bool = False
    shard: Shard | None = None
    reuse_baseline: str | None = None
    allow_wider: bool = False
    repeat: str
    thresholds: str = str(THRESHOLDS)
    refused: list[str] = Field(default_factory=list)

    @property
    def calibrates(self) -> bool:
        """Whether it is a calibration: baselines alone, from which thresholds are proposed."""
        return all(arm.name != COMPRESSED for arm in self.arms)

    @property
    def resume(self) -> str:
        """The command that goes on with its run, should that break."""
        command = "calibrate" if self.calibrates else "accuracy"
        return shlex.join(("nox", "-s", command, "--", "--resume", self.folder))

    def arm(self, name: str) -> Arm:
        """Return the arm of that name."""
        return next(arm for arm in self.arms if arm.name == name)

    def policy_of(self, arm: Arm) -> Policy:
        """Return what an arm's sums are to be compressed by; an arm without the flag makes none of them."""
        return parse(self.policy) if self.policy is not None else arm.settings.policy()
