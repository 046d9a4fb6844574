"""How far predictions of fixed texts lie from an uncompressed server's, over the whole vocabulary.

Inside the server, since a vocabulary of probabilities for each token is too much to send. The texts are those of
texts.json in the study's folder; each must come as a request of its own whole tokens, prefilled at once from an empty
cache. What is done with their predictions, the policy says, or for all policies that do not, the settings.
`reference`: the final hidden states of each text are kept, as reference/HASH.pt: `{"policy": 1, "tokens": [ids],
"hidden": [T, hidden size] of the model's dtype}`. `compare`: both its and the kept ones, which may be another
server's, go through SGLang's own head, in fp32. Every text of a prefill gets a line in predictions.jsonl, which rank
0 writes; HASH is that of `harness.sglang_plugin.study_folder.hash_tokens`:

    {"policy": 1, "text": HASH, "kept": 115}
    {"policy": 2, "text": HASH, "reference": 1, "kl": [T - 1], "baseline": [T - 1], "candidate": [T - 1],
     "same_top": [T - 1]}
    {"policy": 2, "text": HASH, "not_measured": "why"}

for the predictions of tokens 1 to T - 1: the Kullback-Leibler divergence of the candidate from the reference in nats,
the log-probability of the token that follows in either, and whether both find the same token most likely.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from sglang.srt.layers.logits_processor import LogitsMetadata
from torch import Tensor

from harness.sglang_plugin.policy import Policy
from harness.sglang_plugin.recorder import Log
from harness.sglang_plugin.releases import logits
from harness.sglang_plugin.settings import Settings
from harness.sglang_plugin.study_folder import REFERENCE, TextsFile, hash_tokens

CACHE_BYTES = 2 * 2**30
"""Reference log-probabilities that are kept in memory: computing them takes as long as the candidate's."""
CHUNK_ELEMENTS = 2**26
"""Logits that are made at once, in elements."""
CACHED_ELEMENTS = 2**20
"""Elements whose temporaries a processor's cache holds: then this costs a quarter of the time."""
FILE = "predictions.jsonl"
FP32_BYTES = 4


@dataclass(frozen=True)
class Head:
    """SGLang's own way from final hidden states to logits, in one prefill.

    Attributes:
        processor: SGLang's LogitsProcessor.
        lm_head: The model's head.
        batch: SGLang's ForwardBatch.
    """

    processor: Any
    lm_head: Any
    batch: Any

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""
        return int(self.processor.config.vocab_size)

    def log_probabilities(self, states: Tensor) -> Tensor:
        """Return `[T, vocabulary]`, fp32, of `[T, hidden size]`; all ranks must ask, each has a part of the head."""
        metadata = LogitsMetadata.from_forward_batch(self.batch)
        asked = self.processor.use_fp32_lm_head
        self.processor.use_fp32_lm_head = True
        try:
            own = logits(self.processor, states, self.lm_head, metadata)
        finally:
            self.processor.use_fp32_lm_head = asked
        return torch.log_softmax(own.float(), dim=-1)


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
        # Of references, by text. Only rank 0 holds them, but all ranks must agree on what need not be computed. A run
        # compares each text once, a study with every policy.
        self._cached: dict[str, Tensor | None] = {}
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
        for prefix, length in zip(head.batch.extend_prefix_lens_cpu, head.batch.extend_seq_lens_cpu, strict=True):
            tokens, own = tuple(ids[start : start + length]), states[start : start + length]
            start += length
            if prefix == 0 and tokens in self._texts:
                text = self._texts[tokens]
                if self._mode == "reference":
                    self._write(policy, text, self._keep(policy, text, tokens, own))
                else:
                    self._write(policy, text, self._compare(text, tokens, own, head))
                continue
            for whole, text in self._texts.items():
                if tokens and whole[prefix : prefix + length] == tokens:
                    why = f"of its {len(whole)} tokens, {length} from token {prefix} on were prefilled by themselves"
                    self._write(policy, text, {"not_measured": why})

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

    def _compare(self, text: str, tokens: tuple[int, ...], states: Tensor, head: Head) -> dict[str, object]:
        file = self._reference(text)
        if not file.exists():
            return {"not_measured": f"no reference of it is kept: {file} is not there"}
        reference = torch.load(file)
        kept = reference["hidden"]
        if (kept.shape, kept.dtype) != (states.shape, states.dtype):
            return {"not_measured": f"{file} was kept from another model"}
        # Of the last token's prediction nobody knows what follows.
        predictions = len(tokens) - 1
        is_cached, baselines = text in self._cached, self._cached.get(text)
        is_kept = is_cached or predictions * head.vocabulary * FP32_BYTES <= self._free_bytes
        following = torch.tensor(tokens[1:], device=states.device)
        columns: dict[str, list[Any]] = {}
        pieces: list[Tensor] = []
        rows = max(1, CHUNK_ELEMENTS // head.vocabulary)
        for start in range(0, predictions, rows):
            chunk = slice(start, min(start + rows, predictions))
            candidate = head.log_probabilities(states[chunk])
            if not is_cached:
                pieces.append(head.log_probabilities(kept[chunk].to(states.device)))
            if self._rank == 0:
                baseline = pieces[-1] if baselines is None else baselines[chunk]
                for name, column in compare(baseline, candidate, following[chunk]).items():
                    columns.setdefault(name, []).extend(column)
            if not is_kept or self._rank != 0:
                pieces.clear()
        if is_kept and not is_cached:
            self._free_bytes -= predictions * head.vocabulary * FP32_BYTES
            self._cached[text] = torch.cat(pieces) if pieces else None
        return {"reference": reference["policy"], **columns}

    def _reference(self, text: str) -> Path:
        return self._kept / f"{text}.pt"

    def _write(self, policy: Policy, text: str, found: dict[str, object]) -> None:
        if self._rank == 0:
            self._log = self._log or Log(self._file)
            self._log.write({"policy": policy.number, "text": text, **found})


def compare(baseline: Tensor, candidate: Tensor, following: Tensor) -> dict[str, list[Any]]:
    """Compare two servers' predictions.

    Args:
        baseline: Log-probabilities, `[T, V]`, fp32.
        candidate: Log-probabilities, likewise.
        following: The token that follows each, `[T]`.

    Returns:
        The columns of a line of predictions.jsonl, T values each.
    """
    rows = max(1, CACHED_ELEMENTS // baseline.shape[-1])
    blocks = zip(torch.split(baseline, rows), torch.split(candidate, rows), strict=True)
    kl = torch.cat([_kl(*block) for block in blocks])
    # `argmax` takes three times as long on a CPU.
    likely, top = (own.max(dim=-1).indices for own in (baseline, candidate))
    following = following.unsqueeze(-1)
    return {
        "kl": _short(kl),
        "baseline": _short(baseline.gather(-1, following).squeeze(-1)),
        "candidate": _short(candidate.gather(-1, following).squeeze(-1)),
        "same_top": (likely == top).tolist(),
    }


def _kl(baseline: Tensor, candidate: Tensor) -> Tensor:
    # Not exp(b) b - exp(b) c: where both are alike, that is a difference of large numbers; this is exactly 0.
    return (baseline.exp() * (baseline - candidate)).sum(dim=-1)


def _short(values: Tensor) -> list[float]:
    """Return what of fp32 values means anything, in few digits."""
    return [float(f"{value:.7g}") for value in values.tolist()]
