"""A study's plan: pure data that says which policies are measured, on what, and within which budget."""

import hashlib
import json
from typing import Any

from pydantic import Field

from harness.config.suite import Deadlines, KnownAnswer
from harness.plan.plan import Arm, FidelityPlan, TaskPlan
from harness.sglang_plugin.policy import Choice
from harness.strict import Strict

# What is measured without --codecs: the PR's own codec, what is known to harm less, what sends less, and what others
# run. Without an algorithm's name, the one that sends less at that number of ranks.
DEFAULT_CANDIDATES = (
    "int8_token:one_shot",
    "int8_token:two_shot",
    "int8_token_rows4",
    "int8_group64",
    "int8_hadamard",
    "fp8_e4m3_token",
    "int6_group32",
    "int6_hadamard",
    "int4_group32",
    "int4_hadamard",
    "quickreduce_int8:own",
    "flashinfer_fp8:own",
)
# Over how many ranks others' mechanisms work: at other numbers the shipped list leaves them out.
DEFAULT_RANKS = {"quickreduce_int8:own": (2, 4, 8), "flashinfer_fp8:own": (2, 4, 8, 16)}
# The codec whose harm is drawn site by site: what SGLang's flag means.
PR_CODEC = "int8_token"
# The codecs that a mix by site is made of, from the fewest bytes to the most.
MIX_CODECS = ("int4_hadamard", "int6_hadamard", "int8_hadamard")


MOST_RANKS_OF_ONE_SHOT = 3


def default_candidates(ranks: int) -> list[str]:
    """Return what is measured at so many ranks without --codecs."""
    return [name for name in DEFAULT_CANDIDATES if ranks in DEFAULT_RANKS.get(name, (ranks,))]


def algorithm_for(ranks: int) -> str:
    """Return the algorithm that sends less: beyond three ranks one shot sends more than a ring."""
    return "one_shot" if ranks <= MOST_RANKS_OF_ONE_SHOT else "two_shot"


class Candidate(Strict):
    """One way of compressing all sums alike.

    Attributes:
        codec: A codec of harness.collective, or `module:function`.
        algorithm: `one_shot` or `two_shot`.
        ranks: Virtual ranks.
    """

    codec: str
    algorithm: str
    ranks: int

    @property
    def choice(self) -> Choice:
        """The same as a policy's rule has it."""
        return Choice(codec=self.codec, algorithm=self.algorithm)


class Measurement(Strict):
    """One policy that is to be measured.

    Attributes:
        purpose: What for: see `harness.study.records.Measured`.
        name: What people call it.
        ranks: Virtual ranks.
        rules: The policy's rules, as policy.yaml has them.
        texts: On how many of the fixed texts, from the first on.
        questions: On how many questions of the scored task; 0 for none.
        stop_above: Nats a token: a policy that surely does more harm on the first texts is measured on no others.
    """

    purpose: str
    name: str
    ranks: int
    rules: list[dict[str, Any]]
    texts: int
    questions: int
    stop_above: float | None = None

    @property
    def key(self) -> str:
        """What it is kept under; the same for all purposes but `again`, which is to be another."""
        what = [self.purpose == "again", self.rules, self.texts, self.questions, self.stop_above]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:24]


class StudyPlan(Strict):
    """Everything a study does, and nothing that it finds out.

    Attributes:
        run_id: Name of the study and of its folder.
        suite: The suite whose model and server it takes.
        device: `cpu`, `cuda` or `npu`.
        model: The model's name in thresholds.yaml.
        model_path: Its folder or hub name.
        server_python: The interpreter that runs SGLang.
        folder: The study's folder.
        data: The prepared data's folder.
        data_manifest: What the data is and hashes to.
        ranks: Virtual ranks; sites and recommendation are those of the first.
        candidates: What is measured of all sums alike.
        texts: The fixed texts.
        site_texts: How many of them the sites are measured on.
        sites: Whether each site is measured alone, and mixes by site are looked for.
        budget_kl: The harm that the recommended policy may do, in nats a token.
        tasks: The tasks of whose questions fixed texts are made, and that on which candidates are scored.
        scored_task: That one.
        questions: How many of its questions every candidate is scored on; 0 for none.
        link: What joins the ranks, for the times that are predicted; as `find_link` takes it.
        prefill: Tokens of the prefill whose time is predicted.
        arms: The server for each number of virtual ranks.
        known_answer: Asked before anything else.
        start_timeout_s: Seconds until a server that is not ready is given up.
        request_timeout_s: Seconds until a request counts as failed.
        deadlines: When the study is given up.
        repeat: The command that repeats the study.
        part: What a part of a study that is shared out is to measure; empty for a whole study.
    """

    run_id: str
    suite: str
    device: str
    model: str
    model_path: str
    server_python: str
    folder: str
    data: str
    data_manifest: dict[str, Any]
    ranks: list[int]
    candidates: list[Candidate]
    texts: FidelityPlan
    site_texts: int
    sites: bool
    budget_kl: float
    tasks: dict[str, TaskPlan]
    scored_task: str
    questions: int
    link: str
    prefill: int
    arms: list[Arm]
    known_answer: KnownAnswer
    start_timeout_s: int
    request_timeout_s: int
    deadlines: Deadlines = Deadlines()
    repeat: str
    part: list[Measurement] = Field(default_factory=list)

    @property
    def all_texts(self) -> int:
        """How many fixed texts there are, of all sources."""
        return sum(self.texts.texts.values())

    @property
    def gpus(self) -> dict[str, int] | None:
        """What preflight counts: one GPU, whatever the virtual ranks."""
        return {"ranks": 1, "servers": 1} if self.device == "cuda" else None

    def arm(self, ranks: int) -> Arm:
        """Return the server of so many virtual ranks."""
        return next(arm for arm in self.arms if arm.name == arm_name(ranks))


def arm_name(ranks: int) -> str:
    """Return the name of the server of so many virtual ranks, and of its folder."""
    return f"ranks-{ranks}"
