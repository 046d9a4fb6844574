"""A running server of virtual ranks: its policy is switched, and each answer is proven to be given under it."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.ask.questionnaire import Questionnaire
from harness.errors import HarnessError
from harness.judge.engagement import policy_faults
from harness.judge.rank_log import is_prefill
from harness.records.predictions import TextPredictions
from harness.records.run_folder import ArmFolder
from harness.records.tail import Tail
from harness.run.checkpoint import batches
from harness.run.deadlines import Watch
from harness.serve.answers import RequestFailed
from harness.serve.server import Server
from harness.sglang_plugin.policy import Policy, Rule
from harness.sglang_plugin.study_folder import hash_tokens, write_policy, write_texts
from harness.study.records import Traffic

# Texts sent as one request. All of them fit into one prefill of SGLang's default size.
BATCH = 8
PROOF_TIMEOUT_S = 10.0
POLL_S = 0.05
# Deployed models send 16 bits an element, whatever dtype they are studied in.
BYTES_PER_ELEMENT = 2


class VirtualServer:
    """One server of N virtual ranks.

    Attributes:
        ranks: N.
    """

    def __init__(self, server: Server, folder: Path, *, ranks: int, layers: int, watch: Watch) -> None:
        """Take over a server that is up.

        Args:
            server: The server.
            folder: Where its plugin reads its policy and writes its logs.
            ranks: N.
            layers: The model's layers.
            watch: When it is given up.
        """
        self.ranks = ranks
        self._server = server
        self._folder = folder
        self._layers = layers
        self._watch = watch
        self._policy = Policy(rules=())
        self._forwards = Tail(folder / "rank-0.jsonl")
        self._predictions = Tail(folder / "predictions.jsonl")

    def tokenize(self, contents: Sequence[str], max_tokens: int) -> list[list[int]]:
        """Return texts as token ids, cut, and have the plugin know them.

        Raises:
            HarnessError: The server gave no answer.
        """
        texts = []
        for ids in self._server.client.tokenize_many(contents):
            if isinstance(ids, RequestFailed):
                raise HarnessError(f"the texts cannot be tokenized: {ids}") from ids
            texts.append(ids[:max_tokens])
        write_texts(self._folder, texts)
        return texts

    def under(self, rules: Sequence[Rule], name: str, *, predictions: str | None) -> None:
        """Put a policy into force; nothing that was computed under another is used any more.

        Args:
            rules: The policy's rules.
            name: Its name, for the logs.
            predictions: `reference`, `compare`, or None for neither.

        Raises:
            HarnessError: The server is not idle or not there.
        """
        self._watch.begin()
        self._forwards.skip()
        self._predictions.skip()
        self._policy = Policy(rules=tuple(rules), number=self._policy.number + 1, name=name, predictions=predictions)
        try:
            self._server.client.flush_cache()
            write_policy(self._folder, self._policy)
        except RequestFailed as error:
            self._server.check_alive()
            raise HarnessError(f"the server's cache cannot be emptied: {error}") from error

    def predict(self, texts: Sequence[Sequence[int]], advance: Callable[[], None]) -> list[TextPredictions]:
        """Have the texts predicted under the policy in force.

        Args:
            texts: Token ids.
            advance: Called after each text.

        Returns:
            Each text's predictions, in order; none under a policy of `reference`.

        Raises:
            HarnessError: A request failed, the server is given up, or a text was not measured under this policy.
        """
        for start in range(0, len(texts), BATCH):
            batch = texts[start : start + BATCH]
            self._check()
            for answer in self._server.client.prefill_many(batch):
                if isinstance(answer, RequestFailed):
                    self._server.check_alive()
                    raise HarnessError(f"policy {self._policy.name}: {answer}")
                advance()
            self._watch.answered()
        hashes = [hash_tokens(text) for text in texts]
        found: dict[str, dict[str, Any]] = {}
        deadline = time.monotonic() + PROOF_TIMEOUT_S
        while len(found) < len(set(hashes)) and time.monotonic() < deadline:
            for line in self._predictions.read():
                if line["policy"] == self._policy.number:
                    found[line["text"]] = line
            time.sleep(POLL_S if len(found) < len(set(hashes)) else 0)
        missing = [line["not_measured"] for line in found.values() if "not_measured" in line]
        missing += [f"nothing was written of text {text[:12]}" for text in hashes if text not in found]
        if missing:
            raise HarnessError(f"policy {self._policy.name}: {len(missing)} texts were not measured: {missing[0]}")
        if self._policy.predictions == "reference":
            return []
        return [
            TextPredictions(
                text=text, **{name: found[text][name] for name in ("kl", "baseline", "candidate", "same_top")}
            )
            for text in hashes
        ]

    def ask(self, questionnaire: Questionnaire, part: range, folder: ArmFolder) -> None:
        """Ask questions under the policy in force; as for `Questionnaire.ask`.

        Raises:
            HarnessError: The server is gone, or is given up.
        """
        client, alive = self._server.client, self._server.check_alive
        for batch in batches(part, questionnaire.concurrency):
            self._check()
            questionnaire.ask(client, batch, folder=folder, after_failure=alive, advance=self._watch.answered)

    def _check(self) -> None:
        """Do nothing as long as there is time and a server."""
        self._watch.check()
        self._server.check_process()

    def proven_traffic(self, tokens: int) -> Traffic:
        """Return what a rank would have sent since the policy came into force, once all of that is proven.

        Args:
            tokens: How many tokens were sent for prefill since then, at least.

        Raises:
            HarnessError: A prefill ran under another policy, or did not do what the policy says.
        """
        forwards: list[dict[str, Any]] = []
        deadline = time.monotonic() + PROOF_TIMEOUT_S
        while True:
            forwards += self._forwards.read()
            prefills = [forward for forward in forwards if is_prefill(forward)]
            prefilled = sum(forward["tokens"] for forward in prefills)
            if prefilled >= tokens or time.monotonic() > deadline:
                break
            time.sleep(POLL_S)
        faults = [
            f"a prefill of {forward['tokens']} tokens ran under policy {forward['policy']}"
            for forward in prefills
            if forward["policy"] != self._policy.number
        ]
        if prefilled < tokens:
            faults.append(f"{tokens} tokens were sent, {prefilled} were prefilled")
        faults += policy_faults("rank 0", prefills, self._policy, self._layers)
        if faults:
            raise HarnessError(f"policy {self._policy.number} ({self._policy.name}) is not proven: {faults[0]}")
        return _traffic(prefills, self.ranks)


def _traffic(prefills: list[dict[str, Any]], ranks: int) -> Traffic:
    counts = [site for forward in prefills for site in forward["sites"].values()]
    plain = sum(site["plain_bytes"] for site in counts)
    ring = 2 * (ranks - 1) / ranks * BYTES_PER_ELEMENT * sum(site["elements"] for site in counts)
    return Traffic(
        compressed=sum(site["wire_bytes"] for site in counts),
        plain=plain,
        ring=ring + plain,
        sums=sum(site["calls"] + site["plain"] for site in counts),
        tokens=sum(forward["tokens"] for forward in prefills),
        prefills=len(prefills),
    )
