"""Has one server read the fixed texts, whose predictions its plugin compares, and keeps which it read."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

from harness.ask.lm_eval_task import LmEvalTask
from harness.ask.texts import Text, build_texts
from harness.plan.plan import FidelityPlan
from harness.records.predictions import FIDELITY, CompareLine, Piece, TextRecord, read_pieces
from harness.records.run import write_lines
from harness.records.run_folder import ArmFolder
from harness.records.tail import Tail
from harness.serve.answers import Answer, RequestFailed
from harness.serve.client import Client
from harness.sglang_plugin.study_folder import hash_tokens, write_texts


class FixedTexts:
    """The fixed texts of a plan, as a questionnaire: a prediction after every token of each.

    Attributes:
        plan: How much of each text, and what is read.
        texts: The texts.
    """

    name = FIDELITY
    unit = "texts"

    def __init__(self, plan: FidelityPlan, data: Path, tasks: Sequence[LmEvalTask] = ()) -> None:
        """Read the texts.

        Args:
            plan: Which texts, how much of each, and what is read.
            data: The prepared data.
            tasks: The run's tasks, of whose questions some texts may be.

        Raises:
            HarnessError: The data lacks a file or texts; all at once.
        """
        self.plan = plan
        own = {task.name: task.solved() for task in tasks if task.name in plan.of_tasks}
        self.texts = build_texts(data, plan.texts, own)

    @property
    def questions(self) -> int:
        """How many texts there are."""
        return len(self.texts)

    def protocol(self) -> dict[str, Any]:
        """Return everything that decides what is asked and how it is read."""
        return self.plan.protocol()

    def protocol_text(self) -> str:
        """Return the protocol in one line."""
        return self.plan.protocol_text()

    @property
    def concurrency(self) -> int:
        """How many texts go out at once."""
        return self.plan.concurrency

    @property
    def accepted(self) -> str:
        """What is accepted, in words."""
        threshold = self.plan.threshold
        return str(threshold.model_dump(exclude_none=True)) if threshold else "none: a large shift is a WARNING"

    def contents(self) -> list[str]:
        """Return the texts."""
        return [text.content for text in self.texts]

    def ask(
        self,
        client: Client,
        part: range,
        *,
        folder: ArmFolder,
        after_failure: Callable[[], None],
        advance: Callable[[], None],
    ) -> None:
        """Add a record of each text, in the texts' order; `concurrency` of them go out as one request.

        Args and errors are those of `Questionnaire.ask`.
        """
        texts = self.texts[part.start : part.stop]
        found = client.tokenize_many([text.content for text in texts])
        tokens = [ids if isinstance(ids, RequestFailed) else ids[: self.plan.max_tokens] for ids in found]
        # The server compares these, and must know them first.
        write_texts(folder.engagement, [ids for ids in tokens if not isinstance(ids, RequestFailed)])

        for start in range(0, len(texts), self.plan.concurrency):
            batch = slice(start, start + self.plan.concurrency)
            written = Tail(folder.compared).skip()
            answers = iter(client.prefill_many([ids for ids in tokens[batch] if not isinstance(ids, RequestFailed)]))
            records = [_record(text, ids, answers) for text, ids in zip(texts[batch], tokens[batch], strict=True)]
            write_lines(folder.predictions, records)
            # Without them the report shows the tokens' numbers.
            with suppress(RequestFailed, ValueError):
                lines = map(CompareLine.model_validate, written.read())
                _write_pieces([line for line in lines if line.kl], records, folder, client)
            for _ in records:
                advance()
            if any(record.error is not None for record in records):
                after_failure()


def _record(text: Text, tokens: list[int] | RequestFailed, answers: Iterator[Answer | RequestFailed]) -> TextRecord:
    answer = tokens if isinstance(tokens, RequestFailed) else next(answers)
    if isinstance(tokens, RequestFailed) or isinstance(answer, RequestFailed):
        return TextRecord(text=text.name, text_hash=text.hash, error=str(answer))
    return TextRecord(text=text.name, text_hash=text.hash, token_hash=hash_tokens(tokens), tokens=tokens)


def _write_pieces(
    lines: Sequence[CompareLine], records: Sequence[TextRecord], folder: ArmFolder, client: Client
) -> None:
    """Add the tokens that a report of these texts may name, as text; none where nothing was compared."""
    if not lines:
        return
    named = {token for line in lines for token in (*line.baseline_top, *line.candidate_top)}
    named.update(chain.from_iterable(record.tokens for record in records))
    if new := sorted(named - read_pieces(folder.pieces).keys()):
        pieces = zip(new, client.pieces(new), strict=True)
        write_lines(folder.pieces, [Piece(token=token, text=text) for token, text in pieces])
