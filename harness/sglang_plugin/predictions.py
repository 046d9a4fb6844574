"""How far predictions of fixed texts lie from an uncompressed server's, over the whole vocabulary.

Inside the server, since a vocabulary of probabilities for each token is too much to send. The texts are those of
texts.json in the study's folder; each must come as a request of its own whole tokens, prefilled at once from an empty
cache. What is done with their predictions, the policy says, or for all policies that do not, the settings.
`reference`: the final hidden states of each text are kept, as reference/HASH.pt: `{"policy": 1, "tokens": [ids],
"hidden": [T, hidden size] of the model's dtype}`. `compare`: both its and the kept ones, which may be another
server's, go through SGLang's own head, in fp32 (harness.sglang_plugin.vocabulary). Every text of a prefill gets a
line in predictions.jsonl, which rank 0 writes; HASH is that of `harness.sglang_plugin.study_folder.hash_tokens`:

    {"policy": 1, "text": HASH, "kept": 115}
    {"policy": 2, "text": HASH, "reference": 1, "kl": [T - 1], "baseline": [T - 1], "candidate": [T - 1],
     "same_top": [T - 1], "baseline_top": [T - 1], "candidate_top": [T - 1]}
    {"policy": 2, "text": HASH, "not_measured": "why", "no_numbers": false}

for the predictions of tokens 1 to T - 1: the Kullback-Leibler divergence of the candidate from the reference in nats,
the log-probability of the token that follows in either, whether both find the same token most likely, and which token
that is in either. `no_numbers` says that the reference holds numbers and the candidate does not.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.sglang_plugin.policy import Policy
from harness.sglang_plugin.recorder import Log
from harness.sglang_plugin.settings import Settings
from harness.sglang_plugin.study_folder import REFERENCE, TextsFile, hash_tokens
from harness.sglang_plugin.vocabulary import Head, Part, compare, join

CACHE_BYTES = 2 * 2**30
"""Reference log-probabilities that are kept in memory: computing them takes as long as the candidate's."""
CHUNK_ELEMENTS = 2**26
"""Logits that are made at once, in elements."""
FILE = "predictions.jsonl"
FP32_BYTES = 4


@dataclass(kw_only=True)
class Pair:
    """One text in a prefill, beside its kept reference.

    Attributes:
        text: The hash of its tokens.
        tokens: Its tokens.
        states: Its final hidden states.
        kept: The reference's.
        policy: The number of the reference's policy.
        baseline: The reference's log-probabilities, one part for each that was computed, or all of it from before.
        cached: Whether they are from before.
        columns: What was found, as a line of predictions.jsonl.
    """

    text: str
    tokens: tuple[int, ...]
    states: Tensor
    kept: Tensor
    policy: int
    baseline: list[Part] = field(default_factory=list)
    cached: bool = False
    columns: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def predictions(self) -> int:
        """How many there are: of the last token's nobody knows what follows."""
        return len(self.tokens) - 1

    def line(self) -> dict[str, object]:
        """Return what predictions.jsonl says of it, once it is compared."""
        for name in ("baseline", "candidate", "kl"):
            for position, value in enumerate(self.columns.get(name, ())):
                if not isfinite(value):
                    whose = "the reference's" if name == "baseline" else "its"
                    why = f"{whose} predictions are no numbers from token {position} on"
                    return {"not_measured": why, "no_numbers": name != "baseline"}
        return {"reference": self.policy, **self.columns}


class Predictions:
    """The comparison in one process.

    Args:
        settings: The plugin's settings.
        study: The study's folder.
    """

    def __init__(self, settings: Settings, study: Path) -> None:
        self._file = settings.dir / FILE
        self._texts_file = TextsFile(study)
        self._kept = (settings.reference or study) / REFERENCE
        self._otherwise = settings.predictions
        self._policy: Policy | None = None
        self._mode: str | None = None
        self._texts: dict[tuple[int, ...], str] = {}
        # Of references, by text. A run compares each text once, a study with every policy.
        self._cached: dict[str, Part] = {}
        self._cache_bytes = CACHE_BYTES if settings.predictions is None else 0
        self._free_bytes = self._cache_bytes
        self._log: Log | None = None
        self._rank = 0

    def start(self, rank: int) -> None:
        """Say which rank this is."""
        self._rank = rank

    def under(self, policy: Policy) -> None:
        """Go on under a policy."""
        self._policy = policy
        self._mode = policy.predictions or self._otherwise

    def hook(  # noqa: PLR0917 - SGLang's models pass them by position
        self,
        original: Callable[..., Any],
        processor: Any,  # noqa: ANN401 - SGLang's LogitsProcessor
        input_ids: Tensor,
        hidden_states: Tensor,
        lm_head: Any,  # noqa: ANN401 - SGLang's
        logits_metadata: Any,  # noqa: ANN401 - SGLang's ForwardBatch
        *args: Any,  # noqa: ANN401 - SGLang's
        **kwargs: Any,  # noqa: ANN401 - SGLang's
    ) -> Any:  # noqa: ANN401 - SGLang's
        """Run around `LogitsProcessor.forward`, whose arguments these are."""
        batch = logits_metadata
        if self._policy and self._mode and batch.forward_mode.is_extend() and batch.extend_seq_lens_cpu:
            if self._texts_file.refresh():
                self._texts = {text: hash_tokens(text) for text in self._texts_file.texts}
            self._look(self._policy, input_ids.tolist(), hidden_states, Head(processor, lm_head, batch))
        return original(processor, input_ids, hidden_states, lm_head, logits_metadata, *args, **kwargs)

    def _look(self, policy: Policy, ids: list[int], states: Tensor, head: Head) -> None:
        start = 0
        found: list[tuple[str, dict[str, object] | Pair]] = []
        for prefix, length in zip(head.batch.extend_prefix_lens_cpu, head.batch.extend_seq_lens_cpu, strict=True):
            tokens, own = tuple(ids[start : start + length]), states[start : start + length]
            start += length
            if prefix == 0 and tokens in self._texts:
                text = self._texts[tokens]
                seen = self._keep if self._mode == "reference" else self._pair
                found.append((text, seen(policy, text, tokens, own)))
                continue
            for whole, text in self._texts.items():
                if tokens and whole[prefix : prefix + length] == tokens:
                    why = f"of its {len(whole)} tokens, {length} from token {prefix} on were prefilled by themselves"
                    found.append((text, {"not_measured": why}))
        self._compare([pair for _, pair in found if isinstance(pair, Pair)], head)
        for text, entry in found:
            self._write(policy, text, entry.line() if isinstance(entry, Pair) else entry)

    def _keep(self, policy: Policy, text: str, tokens: tuple[int, ...], states: Tensor) -> dict[str, object]:
        self._cached.clear()
        self._free_bytes = self._cache_bytes
        if self._rank == 0:
            file = self._reference(text)
            file.parent.mkdir(parents=True, exist_ok=True)
            draft = file.with_suffix(".draft")
            torch.save({"policy": policy.number, "tokens": list(tokens), "hidden": states.cpu().clone()}, draft)
            draft.replace(file)
        return {"kept": len(tokens)}

    def _pair(self, _policy: Policy, text: str, tokens: tuple[int, ...], states: Tensor) -> Pair | dict[str, object]:
        file = self._reference(text)
        if not file.exists():
            return {"not_measured": f"no reference of it is kept: {file} is not there"}
        reference = torch.load(file)
        kept = reference["hidden"]
        if (kept.shape, kept.dtype) != (states.shape, states.dtype):
            return {"not_measured": f"{file} was kept from another model"}
        return Pair(text=text, tokens=tokens, states=states, kept=kept, policy=reference["policy"])

    def _compare(self, pairs: Sequence[Pair], head: Head) -> None:
        for pair in pairs:
            if pair.text in self._cached:
                pair.baseline, pair.cached = [self._cached[pair.text]], True
        for together in _at_once(pairs, max(1, CHUNK_ELEMENTS // head.columns)):
            candidates = head.log_probabilities(torch.cat([pair.states[rows] for pair, rows in together]))
            new = [pair.kept[rows] for pair, rows in together if not pair.cached]
            references = head.log_probabilities(torch.cat(new).to(candidates.own.device)) if new else None
            start = start_of_new = 0
            for pair, rows in together:
                count = rows.stop - rows.start
                candidate = candidates[start : start + count]
                start += count
                if pair.cached:
                    baseline = pair.baseline[0][rows]
                else:
                    assert references is not None  # noqa: S101 - this is one of the new ones
                    baseline = references[start_of_new : start_of_new + count]
                    start_of_new += count
                    if self._has_room(pair, head):
                        pair.baseline.append(baseline)
                following = torch.tensor(pair.tokens[1:][rows], device=pair.states.device)
                for name, column in compare(baseline, candidate, following).items():
                    pair.columns.setdefault(name, []).extend(column)
                if rows.stop == pair.predictions and pair.baseline and not pair.cached:
                    self._free_bytes -= self._bytes(pair, head)
                    self._cached[pair.text] = join(pair.baseline)
                    pair.baseline = []

    def _has_room(self, pair: Pair, head: Head) -> bool:
        return self._bytes(pair, head) <= self._free_bytes

    def _bytes(self, pair: Pair, head: Head) -> int:
        return pair.predictions * head.columns * FP32_BYTES

    def _reference(self, text: str) -> Path:
        return self._kept / f"{text}.pt"

    def _write(self, policy: Policy, text: str, found: dict[str, object]) -> None:
        if self._rank == 0:
            self._log = self._log or Log(self._file)
            self._log.write({"policy": policy.number, "text": text, **found})


def _at_once(pairs: Sequence[Pair], most: int) -> Iterator[list[tuple[Pair, slice]]]:
    """Yield the predictions of texts, as many at once as there may be: a text and its rows."""
    together: list[tuple[Pair, slice]] = []
    room = most
    for pair in pairs:
        start = 0
        while start < pair.predictions:
            stop = min(start + room, pair.predictions)
            together.append((pair, slice(start, stop)))
            room -= stop - start
            start = stop
            if not room:
                yield together
                together, room = [], most
    if together:
        yield together
