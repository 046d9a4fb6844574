"""What the ranks of a server leave, written by the plugin's own recorder."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from harness.sglang_plugin.recorder import Log, Recorder

LAYERS = 3
WIDTH = 8
FACTS = {
    "world_size": 2,
    "tp_size": 2,
    "layers": LAYERS,
    "hidden": WIDTH,
    "device": "cpu",
    "implementation": "harness.collective",
    "codec": "int8_token",
    "algorithm": "one_shot",
    "sglang": "0.5.23",
    "torch": "2.9.0",
}


def write_engagement(
    folder: Path, *, compressed: bool, ranks: Iterable[int] = (0, 1), prefills: int = 4, **facts: Any
) -> None:
    """Write the logs that ranks leave when all is well, by the plugin's own recorder."""
    for rank in ranks:
        recorder = Recorder(folder)
        recorder.start(rank, {**FACTS, "flag": compressed, **facts})
        for tokens in range(1, prefills + 1):
            with recorder.forward("EXTEND", tokens):
                for layer in range(LAYERS if compressed else 0):
                    count(recorder, "attention", tokens, layer=layer)
                    count(recorder, "ffn", tokens, layer=layer)
            with recorder.forward("DECODE", 1):
                pass
        with recorder.forward("IDLE", 0):
            pass


def count(recorder: Recorder, site: str, tokens: int = 1, *, layer: int = 0, quantized: bool = True) -> None:
    """Count one compressed all-reduce."""
    sent = {"elements": tokens * WIDTH, "wire_bytes": tokens * (WIDTH + 4)}
    recorder.count(site, layer=layer, how="int8_token one_shot", quantized=quantized, **sent)


def tally(tokens: int = 3, **changed: Any) -> dict[str, Any]:
    """Return what the plugin measures of one checked call over some tokens: INT8's usual 40 dB."""
    usual = {
        "tokens": tokens,
        "elements": tokens * WIDTH,
        "beyond": 0,
        "over_bound": 0.5 if tokens else 0.0,
        "signal": 100.0 * tokens,
        "error": 0.01 * tokens,
        "claimed": 0.01 * tokens,
        "nonzero": tokens * WIDTH,
        "flushed": tokens,
        "crest": 4.0 if tokens else 0.0,
    }
    return {**usual, **changed}


def checked(call: int, **changed: Any) -> dict[str, Any]:
    """Return one checked call: calls alternate between the sites, layer by layer."""
    usual = {
        "call": call,
        "site": ("attention", "ffn")[call % 2],
        "layer": call // 2 % LAYERS,
        "codec": "int8_token",
        "algorithm": "one_shot",
        "token0": tally(1),
        "rest": tally(),
        "nonfinite": 0,
        "swallowed": 0,
        "worst": {"row": 1, "column": 2, "served": 1.5, "expected": 1.25, "allowed": 0.5},
        "differing": 0,
        "differing_most": None,
    }
    return {**usual, **changed}


def write_live_check(
    folder: Path, samples: Sequence[dict[str, Any]] | None = None, *, ranks: Iterable[int] = (0, 1), **end: Any
) -> None:
    """Write the live checks that ranks leave when all is well: one pass, all of its calls."""
    usual = {"calls": 2 * LAYERS, "pass_seconds": 2.0, "check_seconds": 0.5}
    for rank in ranks:
        log = Log(folder / f"live-rank-{rank}.jsonl")
        log.write({"rank": rank, "every": 97, "codec": "int8_token", "algorithm": "one_shot"})
        calls = [checked(call) for call in range(2 * LAYERS)] if samples is None else samples
        log.write({**usual, **end, "samples": calls})
