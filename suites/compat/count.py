"""Counts a release's compressed sums in a real server of two ranks on the CPU, with a small random model."""

from pathlib import Path

from harness.config.load import load
from harness.judge.rank_log import RankLog, is_prefill, read_rank
from harness.plan.arms import server_arm
from harness.prepare.random_models import LAST, NEXT
from harness.serve.server import Start, running
from harness.sglang_plugin.policy import SITES
from harness.sglang_plugin.settings import Settings
from harness.strict import Strict

SUITE = "smollm2-cpu"
PROMPT = f"The capital of France{LAST}"
TOKENS = 4
START_TIMEOUT_S = 400
REQUEST_TIMEOUT_S = 120


class Counted(Strict):
    """What a server did.

    Attributes:
        sites: For each site the compressed sums of each prefill, None where prefills or ranks differ.
        layers: The model's layers.
        prefills: Prefills, on each rank.
        decodes: Passes of decode, likewise.
        in_decode: Compressed sums in them.
        known_answer: Whether it continued the text rightly.
    """

    sites: dict[str, int | None]
    layers: int
    prefills: int
    decodes: int
    in_decode: int
    known_answer: bool


def count(python: Path, plugin: Path, model: Path, folder: Path, *, flag: bool = True) -> Counted:
    """Start a release's server with the flag, ask it one question, and count on every rank.

    Args:
        python: The interpreter that has the release.
        plugin: The folder that carries the plugin.
        model: The model's folder.
        folder: Where logs go.
        flag: Whether the flag is on.

    Raises:
        HarnessError: The server did not come up.
        RequestFailed: It did not answer.
        OSError: A rank left no log.
    """
    suite, _thresholds = load(SUITE)
    more = ("--enable-quant-communications",) if flag else ()
    settings = Settings(dir=folder / "engagement", check_every=1)
    plan = server_arm(
        "compressed", suite, plugin=settings, plugin_path=plugin, model_path=str(model), python=python, more=more
    )
    folder.mkdir(parents=True)
    start = Start(
        tp=suite.server.tp,
        known_answer=suite.known_answer.model_copy(update={"prompt": PROMPT, "right": NEXT}),
        start_timeout_s=START_TIMEOUT_S,
        request_timeout_s=REQUEST_TIMEOUT_S,
    )
    with running(
        plan.model_copy(update={"compressed": flag}), start, folder / "server.log", lambda _: None
    ) as server:
        server.client.generate(server.client.tokenize(PROMPT), max_new_tokens=TOKENS, stop=())
        known = server.known_answer
    return read_counts([read_rank(settings.dir / f"rank-{rank}.jsonl") for rank in range(start.tp)], known=known)


def read_counts(ranks: list[RankLog], *, known: bool) -> Counted:
    """Count what the ranks' logs say.

    Args:
        ranks: The logs.
        known: Whether the server continued the text rightly.
    """
    prefills = [[entry for entry in log.passes if is_prefill(entry)] for log in ranks]
    decodes = [[entry for entry in log.passes if entry["mode"] == "DECODE"] for log in ranks]
    sites: dict[str, int | None] = {}
    for site in SITES:
        seen = {entry.get("sites", {}).get(site, {}).get("calls", 0) for of_rank in prefills for entry in of_rank}
        sites[site] = seen.pop() if len(seen) == 1 else None
    return Counted(
        sites=sites,
        layers=int(ranks[0].facts["layers"]),
        prefills=min(map(len, prefills)),
        decodes=min(map(len, decodes)),
        in_decode=sum(
            counts["calls"] for of_rank in decodes for entry in of_rank for counts in entry.get("sites", {}).values()
        ),
        known_answer=known,
    )
