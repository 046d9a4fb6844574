"""Measures policies at one number of ranks, each once: from the store, or on a server that is started when needed."""

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import chain, zip_longest
from typing import Self

from harness.ask.lm_eval_task import LmEvalTask
from harness.ask.predictions import FixedTexts
from harness.ask.texts import Text
from harness.judge.prediction_shift import moves, summarise
from harness.records.predictions import TextPredictions
from harness.records.run_folder import ArmFolder
from harness.records.samples import Sample, read_samples
from harness.run.deadlines import Watch
from harness.run.display import Display
from harness.serve.server import Start, running
from harness.sglang_plugin.policy import parse
from harness.study.measurements import UNCOMPRESSED_RULES
from harness.study.plan import Measurement, StudyPlan
from harness.study.records import Measured, add_measured
from harness.study.server import BATCH, VirtualServer
from harness.study.store import ModelFacts, Store


class Measurer:
    """Measures policies on one server of virtual ranks, which starts with the first one that is not in the store."""

    def __init__(
        self,
        plan: StudyPlan,
        ranks: int,
        *,
        folder: ArmFolder,
        store: Store,
        texts: FixedTexts,
        task: LmEvalTask | None,
        display: Display,
        watch: Watch,
    ) -> None:
        self._plan = plan
        self._arm = plan.arm(ranks)
        self._ranks = ranks
        self._folder = folder
        self._store = store
        self._texts = interleaved(texts.texts)
        self._task = task
        self._display = display
        self._watch = watch
        self._stack = ExitStack()
        self._server: VirtualServer | None = None
        self._tokens: list[list[int]] = []
        folder.path.mkdir(parents=True)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the server, if there is one."""
        self._stack.close()

    @property
    def layers(self) -> int:
        """The model's decoder layers; starts the server where no earlier study asked it."""
        known = self._store.model
        if known is None:
            self._running()
            known = self._store.model
        assert known is not None  # noqa: S101 - _running keeps it
        return known.layers

    def measure(self, wanted: Measurement) -> Measured:
        """Measure a policy and keep it.

        Raises:
            HarnessError: The server did not come up, failed, or cannot prove that the policy was in force.
        """
        measured = self._store.get(wanted.key)
        if measured is None:
            measured = self._measure(wanted)
            self._store.put(wanted.key, measured)
        measured = measured.model_copy(update={"purpose": wanted.purpose, "name": wanted.name})
        add_measured(self._folder.path, measured)
        return measured

    def _measure(self, wanted: Measurement) -> Measured:
        server = self._running()
        clock = time.monotonic()
        name, stop_above = wanted.name, wanted.stop_above
        server.under(parse({"rules": wanted.rules}).rules, name, predictions="compare")
        texts, dropped = self._tokens[: wanted.texts], ""
        with self._display.counting(f"{self._ranks} ranks, {wanted.purpose} {name}", wanted.texts) as advance:
            first = min(BATCH, wanted.texts)
            found = server.predict(texts[:first], advance)
            if stop_above is not None and first < wanted.texts and (low := _surely(found)) > stop_above:
                dropped = f"surely above {stop_above:g} nats after {first} texts: its mean KL is above {low:.3g}"
                texts = texts[:first]
            else:
                found += server.predict(texts[first:], advance)
        samples = self._scored(server, name) if wanted.questions else []
        return Measured(
            purpose=wanted.purpose,
            name=name,
            ranks=self._ranks,
            rules=wanted.rules,
            texts=found,
            traffic=server.proven_traffic(sum(map(len, texts))),
            samples=samples,
            seconds=time.monotonic() - clock,
            dropped=dropped,
        )

    def _scored(self, server: VirtualServer, name: str) -> list[Sample]:
        assert self._task is not None  # noqa: S101 - only then is anything scored
        folder = ArmFolder(self._folder.path / "scored" / name.replace("/", "-"))
        folder.path.mkdir(parents=True, exist_ok=True)
        server.ask(self._task, range(self._plan.questions), folder)
        found = read_samples(folder.samples(self._task.name))
        # A generated answer is read by each of its task's filters: one of them says whether it turned.
        return [sample for sample in found if sample.filter == found[0].filter]

    def _running(self) -> VirtualServer:
        """Return the server, started and with its reference predictions kept if that was not done before."""
        if self._server is not None:
            return self._server
        start = Start(
            tp=1,
            known_answer=self._plan.known_answer,
            start_timeout_s=self._plan.start_timeout_s,
            request_timeout_s=self._plan.request_timeout_s,
        )
        text = f"{self._ranks} ranks"
        self._folder.engagement.mkdir(parents=True, exist_ok=True)
        self._watch.check()
        server = self._stack.enter_context(
            running(self._arm, start, self._folder.log, lambda said: self._display.say(f"{text}: {said}"))
        )
        self._display.say(f"{text}: ready after {server.seconds_to_ready:.0f} s")
        facts = json.loads((self._folder.engagement / "rank-0.jsonl").read_text().splitlines()[0])
        self._store.keep_model(ModelFacts(layers=facts["layers"]))
        virtual = VirtualServer(
            server, self._folder.engagement, ranks=self._ranks, layers=facts["layers"], watch=self._watch
        )
        self._tokens = virtual.tokenize([text.content for text in self._texts], self._plan.texts.max_tokens)
        virtual.under(UNCOMPRESSED_RULES, "reference", predictions="reference")
        with self._display.counting(f"{text}: uncompressed", len(self._tokens)) as advance:
            virtual.predict(self._tokens, advance)
        virtual.proven_traffic(sum(map(len, self._tokens)))
        self._server = virtual
        return virtual


def interleaved(texts: Sequence[Text]) -> list[Text]:
    """Return the texts with their sources in turn, so that the first of them are of all sources."""
    sources: dict[str, list[Text]] = {}
    for text in texts:
        sources.setdefault(text.name.split("/")[0], []).append(text)
    return [text for text in chain.from_iterable(zip_longest(*sources.values())) if text is not None]


def _surely(found: list[TextPredictions]) -> float:
    """Return the lower bound of the mean KL divergence."""
    return summarise(moves(found)).kl.low
