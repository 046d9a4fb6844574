"""Which sums each release of SGLang compresses, by model class: docs/compatibility.md has how each was found.

SGLang takes `--enable-quant-communications` for every model. A class whose layers do not tell a sum the forward batch
leaves it uncompressed, without a word.
"""

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.sglang_plugin.policy import SITES

NEWEST = "0.5.23"
"""The newest release that the table knows; of later ones it says nothing."""


@dataclass(frozen=True, kw_only=True)
class Since:
    """What a class does from a release on.

    Attributes:
        release: The release.
        sites: Where its sums are compressed.
        why: Why not elsewhere; empty where they all are.
    """

    release: str
    sites: tuple[str, ...]
    why: str = ""


BOTH, ATTENTION = ("attention", "ffn"), ("attention",)
UNTOLD = "neither its attention nor its MLP is told the forward batch"
EXPERTS = "the sum of the experts' outputs never asks for the flag"
COVERAGE: dict[str, tuple[Since, ...]] = {
    "LlamaForCausalLM": (
        Since(release="0.5.11", sites=(), why=UNTOLD),
        Since(release="0.5.22", sites=BOTH),
    ),
    "Qwen2ForCausalLM": (
        Since(release="0.5.11", sites=(), why=UNTOLD),
        Since(release="0.5.22", sites=BOTH),
    ),
    "Qwen3ForCausalLM": (Since(release="0.5.11", sites=BOTH),),
    "Qwen3MoeForCausalLM": (Since(release="0.5.11", sites=ATTENTION, why=EXPERTS),),
}


def coverage(release: str, model_class: str) -> Since | None:
    """Return what a release does with a class; None where nobody has looked."""
    if not _number(COVERAGE["LlamaForCausalLM"][0].release) <= _number(release) <= _number(NEWEST):
        return None
    known = [since for since in COVERAGE.get(model_class, ()) if _number(since.release) <= _number(release)]
    return known[-1] if known else None


def model_class(model: str) -> str:
    """Return the class that a model's config.json names; empty where it is no folder, or names none."""
    try:
        named = json.loads((Path(model) / "config.json").read_text(encoding="utf-8"))["architectures"]
        return str(named[0])
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return ""


def problems(release: str, named: str, sites: Collection[str]) -> list[str]:
    """Say why a release would not compress what a suite expects.

    Args:
        release: SGLang's version.
        named: The model's class.
        sites: Where the suite expects compressed sums.
    """
    known = coverage(release, named)
    if known is None or set(known.sites) == set(sites):
        return []
    text = f"SGLang {release} compresses {in_words(known.sites)} in {named}"
    if not known.sites:
        return [f"{text}: {known.why}. It takes the flag and does nothing; {_works_from(named, release)}"]
    text += f": {known.why}" if known.why else ""
    key = f"compression.sites: [{', '.join(known.sites)}]"
    text += f". The suite expects {in_words(tuple(sites))}: say {key} in it to measure that"
    return [f"{text}; {_works_from(named, release)}"]


def explain(release: str, named: str) -> str:
    """Say why nothing was compressed though the flag was on, after a server showed it."""
    named = named or "a class that its config.json does not name"
    known = coverage(release, named)
    if known is not None and not known.sites:
        return f"SGLang {release} compresses nothing in {named}: {known.why}; {_works_from(named, release)}"
    return (
        f"SGLang {release} took the flag for {named} and compressed nothing: where a model's layers do not tell "
        "their sums the forward batch, the flag does nothing; docs/compatibility.md has the classes that do"
    )


def in_words(sites: Sequence[str]) -> str:
    """Name sites; nothing for none."""
    return " and ".join(site for site in SITES if site in sites) or "nothing"


def _works_from(named: str, release: str) -> str:
    later = [since for since in COVERAGE[named] if _number(since.release) > _number(release)]
    if not later:
        return f"no release up to {NEWEST} compresses more of it"
    return "; ".join(f"from {since.release} on it compresses {in_words(since.sites)}" for since in later)


def _number(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", release)[:3])
