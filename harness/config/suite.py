"""A suite as people write it: a model, a device, two servers that differ in compression alone, tasks."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from harness.strict import Positive, Strict

# Those of harness.collective, which the harness's own environment cannot import.
Algorithm = Literal["one_shot", "two_shot"]


class Source(StrEnum):
    """Where the data comes from."""

    PACKAGED = "packaged"
    FOLDER = "folder"
    HUB = "hub"


class Model(Strict):
    """The model under test.

    Attributes:
        name: Its name in thresholds.yaml.
        path: A folder (relative ones from the repository's root; `.cache/` is HARNESS_CACHE where that is set) or a
            hub name `organisation/model`.
        revision: The commit of a hub model: its name alone may stand for other weights tomorrow.
        trust_remote_code: Why code from the model's repository is run, as this user; without it, none is.
    """

    name: str
    path: str
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    trust_remote_code: Annotated[str, Field(min_length=1)] | None = None


class ServerOptions(Strict):
    """How both arms' servers are started. Address, port, key, model and the flag itself are added.

    Attributes:
        tp: Tensor-parallel ranks.
        args: Arguments of `sglang serve`.
        env: Environment variables on top of the harness's own environment.
        start_timeout_s: Seconds until a server that is not ready is given up.
    """

    tp: Annotated[int, Field(ge=2)]
    args: list[str]
    env: dict[str, str] = Field(default_factory=dict)
    start_timeout_s: Positive = 600


class LiveCheckOptions(Strict):
    """How much of what is compressed is also summed exactly: see harness.judge.live_check.

    Attributes:
        every: All calls of the first pass that compresses, and then every so many calls; 0 is none. A prime that
            is no model's number of layers gets round to every layer and site.
    """

    every: Annotated[int, Field(ge=0)] = 97


class Compression(Strict):
    """What stands behind the flag. On an NPU it is always SGLang's own code, and codec and algorithm say nothing.

    Attributes:
        codec: A codec of harness.collective, or `module:function`: an implementation under test, which the
            server's Python must be able to import.
        claims: The codec of harness.collective whose bound and bytes an implementation under test claims.
        algorithm: An algorithm of harness.collective.
        policy: In place of codec and algorithm, a file that says how each site is compressed: docs/study.md.
        sites: Where SGLang is expected to compress: in a mixture of experts attention alone.
        live_check: The live check.
    """

    codec: str = "int8_token"
    claims: str | None = None
    algorithm: Algorithm = "one_shot"
    policy: str | None = None
    sites: Annotated[list[Literal["attention", "ffn"]], Field(min_length=1)] = Field(default=["attention", "ffn"])
    live_check: LiveCheckOptions = LiveCheckOptions()

    @model_validator(mode="after")
    def _one_way_of_saying(self) -> Self:
        both = sorted(self.model_fields_set & {"codec", "claims", "algorithm"})
        if self.policy is not None and both:
            raise ValueError(f"has a `policy` beside `{both[0]}`: the policy says that for every site, keep one")
        return self

    @model_validator(mode="after")
    def _claims_if_under_test(self) -> Self:
        under_test = ":" in self.codec
        if under_test and self.claims is None:
            raise ValueError(
                f"has an implementation under test, {self.codec}: say with `claims` which codec's bound applies"
            )
        if self.claims is not None and not under_test:
            raise ValueError(f"has `claims` beside the codec {self.codec}, which claims itself: remove it")
        return self


class KnownAnswer(Strict):
    """A question with one right answer, asked before any task: an open port proves nothing.

    Attributes:
        prompt: The text to continue.
        right: The continuation that must be generated, and must be scored above `wrong`.
        wrong: A continuation that must be scored below `right`.
    """

    prompt: str
    right: str
    wrong: str

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.right == self.wrong:
            raise ValueError(f"has {self.right!r} as `right` and as `wrong`: no server can score one above the other")
        return self


class TaskRun(Strict):
    """How one task is run.

    Attributes:
        questions: How many of the task's questions, the first of the order of asking.
        concurrency: Questions asked at once, as one request; the same in both arms.
        max_new_tokens: Cap on generated tokens, where it differs from the task's own.
        early_stop: Whether the task ends as soon as its verdict is certain.
        file: The task's own lm-eval YAML, beside the suite; None for a task of suites/tasks or one of lm-eval's.
        data_files: Split to file in the data's folder, where they are not those that the task's YAML names.
        apply_chat_template: Whether the prompts go through the model's chat template.
        system: The system's turn in it; None for none.
        thinking: The template's thinking mode (`enable_thinking`), on or off; None to leave it to the template.
    """

    questions: Positive
    concurrency: Positive = 1
    max_new_tokens: Positive | None = None
    early_stop: bool = False
    file: str | None = None
    data_files: Annotated[dict[str, str], Field(min_length=1)] | None = None
    apply_chat_template: bool = False
    system: str | None = None
    thinking: bool | None = None

    @model_validator(mode="after")
    def _speaks_through_the_template(self) -> Self:
        if not self.apply_chat_template and (self.system is not None or self.thinking is not None):
            said = "system" if self.system is not None else "thinking"
            raise ValueError(f"has `{said}`, which only a chat template knows: add `apply_chat_template: true`")
        return self

    @model_validator(mode="after")
    def _stays_in_the_folder(self) -> Self:
        for file in (self.data_files or {}).values():
            if file.startswith("/") or ".." in file.split("/") or not file.endswith((".jsonl", ".json")):
                raise ValueError(f"`data_files` names {file!r}: give a .jsonl file within the data's folder")
        return self


class FidelityRun(Strict):
    """Which fixed texts both arms predict, and what is read of it. Without this key of a suite, none.

    Attributes:
        gsm8k: How many of GSM8K's questions with their gold solutions.
        boolq: How many of BoolQ's passages.
        tasks: Of the suite's own tasks, how many of each one's questions, each with its right answer.
        max_tokens: Where a text is cut.
        concurrency: Texts sent at once, as one request; the same in all arms.
    """

    gsm8k: Positive | None = None
    boolq: Positive | None = None
    tasks: dict[str, Positive] = Field(default_factory=dict)
    max_tokens: Annotated[int, Field(ge=2)] = 128
    concurrency: Positive = 1

    @property
    def texts(self) -> dict[str, int]:
        """How many texts of which source."""
        named = (("gsm8k", self.gsm8k), ("boolq", self.boolq))
        return {source: count for source, count in named if count} | self.tasks

    @model_validator(mode="after")
    def _has_texts(self) -> Self:
        if not self.texts:
            raise ValueError("names no text: give `tasks`, `gsm8k` or `boolq`, or leave `fidelity` out")
        if twice := [name for name in ("gsm8k", "boolq") if name in self.tasks and getattr(self, name) is not None]:
            raise ValueError(
                f"names `{twice[0]}` and `tasks.{twice[0]}`, whose texts would have the same names: keep one"
            )
        return self


class Deadlines(Strict):
    """When a run is given up, beside the timeouts of a start and of a request.

    Attributes:
        run_s: Seconds for the run as a whole; one that is resumed has them anew.
        answer_s: Seconds without an answer within one task of one arm.
        failures: Requests that fail in a row.
    """

    run_s: Positive = 6 * 3600
    answer_s: Positive = 1800
    failures: Positive = 3


class Suite(Strict):
    """One file of suites/accuracy: a model, a device, two servers that differ in compression alone, tasks.

    Attributes:
        fidelity: How far the arms' predictions of fixed text are apart, or None where that is not measured.
        data_folder: The folder of `data: folder`; a relative one is beside the suite's file.
        noise_floor: Whether the baseline runs once more by default, to see what changes by itself.
        strict: Whether a WARNING makes the run a FAIL.
        request_timeout_s: Seconds until a request counts as failed, from its first byte to its answer's last.
        deadlines: When the run is given up.
    """

    description: str
    device: Literal["cpu", "cuda", "npu"]
    model: Model
    server: ServerOptions
    compression: Compression = Compression()
    known_answer: KnownAnswer
    data: Annotated[Source, Field(strict=False)]
    data_folder: str | None = None
    tasks: Annotated[dict[str, TaskRun], Field(min_length=1)]
    fidelity: FidelityRun | None = None
    noise_floor: bool = False
    strict: bool = False
    request_timeout_s: Positive = 600
    deadlines: Deadlines = Deadlines()

    @model_validator(mode="after")
    def _texts_of_its_tasks(self) -> Self:
        for name, count in (self.fidelity.tasks if self.fidelity is not None else {}).items():
            asked = self.tasks[name].questions if name in self.tasks else 0
            if count > asked:
                there = f"asks {asked} questions" if asked else f"is none of the suite's: {', '.join(self.tasks)}"
                raise ValueError(f"has {count} texts of the task {name} in `fidelity.tasks`, which {there}")
        return self

    @model_validator(mode="after")
    def _folder_for_the_source(self) -> Self:
        if self.data_folder is not None and self.data is not Source.FOLDER:
            raise ValueError(f"has a `data_folder` beside `data: {self.data.value}`, which has none: keep one")
        return self
