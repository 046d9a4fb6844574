"""lm-eval's tasks as questionnaires: it builds the prompts, applies the filters and scores.

This module and lm_eval_model, through which the requests go, are the only ones that know lm-eval.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import datasets
import lm_eval.api.task as lm_eval_task
from lm_eval.api.instance import Instance
from lm_eval.defaults import DEFAULT_OTHER_SEED

from harness.ask.chat import Renderings
from harness.ask.lm_eval_model import Outcome, ServerModel, appending
from harness.ask.load_task import check_questions, in_words, load_task, right_choice
from harness.ask.sample import Judged, Question, hash_document, sample_of
from harness.errors import HarnessError
from harness.plan.order import ORDER_SEED, asking_order
from harness.plan.plan import TaskPlan
from harness.records.run_folder import ArmFolder
from harness.records.samples import Sample, write_samples
from harness.serve.client import Client

datasets.disable_progress_bars()
# Its bar for building prompts would come once for each part of a task, between the lines of our own progress.
lm_eval_task.tqdm = partial(lm_eval_task.tqdm, disable=True)
logging.getLogger("httpx").setLevel(logging.WARNING)
# lm-eval's own, for a task that names none.
MAX_NEW_TOKENS = 256


class LmEvalTask:
    """One task of a plan, loaded: its prompts are known, nothing has been asked yet.

    Attributes:
        name: Its name.
        plan: What the plan says of it.
        chat: Its prompts as the chat template words them; None where they go as they are.
    """

    unit = "questions"

    def __init__(self, name: str, plan: TaskPlan, data: Path) -> None:
        """Load the task's YAML and its data.

        Args:
            name: The task.
            plan: What the plan says of it.
            data: The prepared data.

        Raises:
            HarnessError: The data lacks a file or questions, or lm-eval refuses the task.
        """
        self.name = name
        self.plan = plan
        self._task = load_task(name, plan, data)
        self._task.set_fewshot_seed(seed=DEFAULT_OTHER_SEED)
        self.chat = Renderings(plan.chat) if plan.chat is not None else None
        self._rows = _shuffle(self._task)
        self._made: list[list[Instance]] = []
        # Of which server, and what of it is prepared beforehand.
        self._ahead: tuple[Client | None, dict[int, Question]] = (None, {})
        available = len(self._rows)
        if available < plan.questions:
            raise HarnessError(
                f"{name}: {plan.questions} questions are asked for, the data in {data} has {available} to score: say "
                f"`questions: {available}` under `tasks.{name}` in the suite"
            )
        check_questions(name, self._task, self._rows[: plan.questions])

    @property
    def task(self) -> Any:  # noqa: ANN401 - lm-eval has no types
        """lm-eval's own task."""
        return self._task

    @property
    def metric_and_filter(self) -> list[str]:
        """Every `metric,filter` that the task can be judged by."""
        metrics = [
            metric["metric"] if isinstance(metric["metric"], str) else metric["metric"].__name__
            for metric in self._task.config.metric_list or ()
        ] or list(self._task.aggregation())
        return [f"{metric},{filter_.name}" for filter_ in self._task._filters for metric in metrics]  # noqa: SLF001 - no public way

    def protocol(self) -> dict[str, Any]:
        """Return everything that decides what is asked and how it is read, for the report."""
        config = self._task.config
        generation = config.generation_kwargs or {}
        return {
            "task": Path(self.plan.file).name,
            "version": config.metadata.get("version", "unknown"),
            "output_type": config.output_type,
            "fewshot": {
                "count": config.num_fewshot or 0,
                "rows": "none"
                if not config.num_fewshot
                else f"{config.fewshot_config.sampler} of {config.fewshot_split}",
                "seed": DEFAULT_OTHER_SEED,
            },
            "bos": self._bos,
            "truncation": "none: the server refuses a prompt that is too long, and the request counts as failed",
            "stop": _stop(generation),
            "max_new_tokens": None if not generation else self._max_new_tokens(generation),
            "temperature": 0.0,
            "chat_template": "none" if self.chat is None else "the model's own",
            "system": None if self.chat is None else self.chat.plan.system,
            "thinking": "none: it is a mode of the chat template"
            if self.chat is None
            else {None: "as the template has it", True: "on", False: "off"}[self.chat.plan.thinking],
            "metrics": self.metric_and_filter,
            "order": f"rows by the SHA-256 of seed and number, seed {ORDER_SEED}; the first questions of that order"
            + ("" if not generation else "; of those sent at once, the longest right answers first"),
            "cluster": config.metadata.get("cluster", "none: each question stands alone"),
        }

    def protocol_text(self) -> str:
        """Return the protocol in one line: what a threshold records and a run is compared by.

        What the number of questions, the server and the data are is recorded apart from it.
        """
        protocol = self.protocol()
        few = protocol["fewshot"]
        parts = [
            f"{protocol['task']} version {protocol['version']}",
            protocol["output_type"],
            f"{few['count']} shots" + (f" ({few['rows']})" if few["count"] else ""),
            f"BOS: {protocol['bos']}",
        ]
        if protocol["max_new_tokens"] is not None:
            parts.append(f"at most {protocol['max_new_tokens']} tokens, stop {json.dumps(protocol['stop'])}")
        if self.chat is not None:
            system = "no system text" if protocol["system"] is None else f"system {json.dumps(protocol['system'])}"
            parts.append(f"chat template, {system}, thinking {protocol['thinking']}")
        return "; ".join(parts)

    @property
    def questions(self) -> int:
        """How many questions are asked."""
        return self.plan.questions

    @property
    def concurrency(self) -> int:
        """How many questions go out at once."""
        return self.plan.concurrency

    @property
    def accepted(self) -> str:
        """What is accepted, in words."""
        return str(self.plan.threshold.model_dump(exclude_none=True))

    def contents(self) -> list[str]:
        """Return the text of every question's prompt, in the order they are asked.

        Raises:
            HarnessError: lm-eval cannot make them.
        """
        return [instances[0].args[0] for instances in self._requests()]

    def _requests(self) -> list[list[Instance]]:
        """Return lm-eval's requests for each question: one, or one a choice.

        Made once: what is fingerprinted is what every arm is asked.

        Raises:
            HarnessError: lm-eval cannot make them.
        """
        if self._made:
            return self._made
        chat: dict[str, Any] = {}
        if self.chat is not None:
            chat = {
                "apply_chat_template": True,
                "system_instruction": self.chat.plan.system,
                "chat_template": self.chat,
            }
        try:
            self._task.build_all_requests(limit=self.plan.questions, rank=0, world_size=1, **chat)
        except Exception as error:
            raise HarnessError(f"{self.name}: the prompts cannot be made: {in_words(error)}") from error
        made = [list(own) for _, own in groupby(self._task.instances, key=attrgetter("doc_id"))]
        if self.chat is None or self.chat.filled:
            self._made = made
        return made

    def solved(self) -> Iterator[str]:
        """Yield each question that is asked with its right answer, in the order of asking, without examples."""
        task, between = self._task, self._task.config.target_delimiter
        for document in list(task.eval_docs)[: self.plan.questions]:
            target = task.doc_to_target(document)
            if worded := self._worded(document):
                target = worded[right_choice(target, worded) or 0]
            # Of several right answers the first.
            answer = target[0] if isinstance(target, list) else target
            yield f"{task.doc_to_text(document)}{between}{answer}"

    def sizes(self) -> list[tuple[str, str, int]]:
        """Return of each question, in order: its prompt, its longest choice, and how many tokens may follow."""
        generation = self._task.config.generation_kwargs or {}
        scored = self._task.config.output_type == "multiple_choice"
        follow = 1 if scored else self._max_new_tokens(generation)
        return [
            (own[0].args[0], max((instance.args[1] for instance in own), key=len) if scored else "", follow)
            for own in self._requests()
        ]

    @property
    def special_tokens(self) -> bool:
        """Whether the tokenizer adds its own tokens to a prompt; a chat template has them in it."""
        return self.chat is None and self._task.config.metadata.get("bos", "tokenizer") == "tokenizer"

    @property
    def _bos(self) -> str:
        if self.chat is not None:
            return "what the chat template adds"
        return "what the tokenizer adds" if self.special_tokens else "none"

    def ask(
        self,
        client: Client,
        part: range,
        *,
        folder: ArmFolder,
        after_failure: Callable[[], None],
        advance: Callable[[], None],
    ) -> None:
        """Add each request's outcome as soon as it is known, and then a sample for each question and filter.

        The samples of a part are sorted by filter and document. Args and errors are those of `Questionnaire.ask`.
        """
        model = ServerModel(client, special_tokens=self.special_tokens, max_new_tokens=self._max_new_tokens)
        samples: list[Sample] = []
        with appending(folder.requests) as write:
            for start in range(part.start, part.stop, self.concurrency):
                batch = range(start, min(start + self.concurrency, part.stop))
                questions = self._prepared(model, batch)
                found = model.ask(
                    [question.asked for question in questions],
                    lengths=[len(str(question.target)) for question in questions],
                    meanwhile=partial(self._look_ahead, model, batch.stop),
                )
                for document, outcomes in zip(batch, found, strict=True):
                    for request, outcome in enumerate(outcomes):
                        write({"task": self.name, "doc_id": document, "request": request, **outcome})
                    advance()
                if any(outcomes[0]["error"] is not None for outcomes in found):
                    after_failure()
                samples += self._samples(questions, found)
        write_samples(folder.samples(self.name), sorted(samples, key=lambda sample: sample.key))

    def _prepared(self, model: ServerModel, batch: range) -> list[Question]:
        """Return questions with all that can be known before they are asked, some of them made so beforehand."""
        client, ahead = self._ahead
        ready = dict(ahead) if client is model.client else {}
        missing = [number for number in batch if number not in ready]
        requests, cluster = self._requests(), self._task.config.metadata.get("cluster")
        for number, asked in zip(missing, model.prepare([requests[number] for number in missing]), strict=True):
            document = asked.instances[0].doc
            ready[number] = Question(
                number=number,
                row=self._rows[number],
                asked=asked,
                target=self._task.doc_to_target(document),
                worded=self._worded(document),
                doc_hash=hash_document(document),
                cluster=hashlib.sha256(str(document[cluster]).encode()).hexdigest() if cluster else None,
            )
        return [ready[number] for number in batch]

    def _look_ahead(self, model: ServerModel, first: int) -> None:
        """Prepare the batch that comes next, most likely, as the server is at work on this one."""
        following = range(first, min(first + self.concurrency, self.questions))
        self._ahead = (model.client, dict(zip(following, self._prepared(model, following), strict=True)))

    def _samples(self, questions: Sequence[Question], found: Sequence[Sequence[Outcome]]) -> Iterator[Sample]:
        """Yield a sample for each question and filter, as lm-eval's filters and metrics have it."""
        names = [name.split(",") for name in self.metric_and_filter]
        metrics = {filter_: metric for metric, filter_ in names}
        # Of every filter alike: a threshold that names another one may judge these answers later. A study names none.
        metrics |= {filter_: metric for metric, filter_ in names if metric == self.plan.threshold.scored_by}
        every = [instance for question in questions for instance in question.asked.instances]
        for filter_ in self._task._filters:  # noqa: SLF001 - no public way
            filter_.apply(every)
            metric = metrics[filter_.name]
            for question, outcomes in zip(questions, found, strict=True):
                instances = question.asked.instances
                answers = [instance.filtered_resps[filter_.name] for instance in instances]
                value = self._task.process_results(instances[0].doc, answers)[metric]
                seen = Judged(filter=filter_.name, answer=answers[0], metric=metric, value=value)
                yield sample_of(self.name, question, seen, outcomes)

    def _max_new_tokens(self, generation: Mapping[str, Any]) -> int:
        return self.plan.max_new_tokens or int(generation.get("max_gen_toks", MAX_NEW_TOKENS))

    def number(self, document: int) -> int:
        """Return which question of the data, counted from 1, is asked as the document of that number."""
        return self._rows[document] + 1

    def _worded(self, document: Mapping[str, Any]) -> list[str]:
        """Return a document's choices as the task words them; none for a generated answer."""
        scored = self._task.config.output_type == "multiple_choice"
        return [str(choice) for choice in self._task.doc_to_choice(document)] if scored else []


def _stop(generation: Mapping[str, Any]) -> list[str] | None:
    until = generation.get("until")
    return [until] if isinstance(until, str) else until


def _shuffle(task: Any) -> list[int]:  # noqa: ANN401 - lm-eval's task
    """Put a task's scored documents into the order of asking and return each one's number in the data."""
    documents = task.eval_docs
    rows = asking_order(len(documents))
    # A list: a data set makes a row anew each time that it is looked at.
    shuffled = list(documents.select(rows))
    # The examples that are shown come from the data itself, not from here.
    name = "test_docs" if task.has_test_docs() else "validation_docs"
    setattr(task, name, lambda: shuffled)
    return rows


def check_tasks(tasks: list[LmEvalTask]) -> None:
    """Do nothing if every task has the metric and filter, and the protocol, that its threshold names.

    Raises:
        HarnessError: Some do not; all at once.
    """
    wrong = [
        f"thresholds.yaml: {task.name}: metric {task.plan.threshold.metric!r} is none of the task's: "
        f"{'; '.join(task.metric_and_filter)}"
        for task in tasks
        if task.plan.threshold.metric not in task.metric_and_filter
    ]
    wrong += [
        f"thresholds.yaml: {task.name}: the numbers hold for another protocol than the run's\n"
        f"  threshold: {task.plan.threshold.protocol}\n"
        f"  run:       {task.protocol_text()}\n"
        "  run the threshold's protocol, or calibrate the threshold for this one (nox -s calibrate)"
        for task in tasks
        if task.plan.threshold.protocol not in (None, task.protocol_text())
    ]
    if wrong:
        raise HarnessError("\n".join(wrong))
