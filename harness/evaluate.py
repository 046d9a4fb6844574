"""Runs lm-eval's tasks against one server. The only module that knows lm-eval.

lm-eval builds the prompts, applies the filters and scores; the requests go through a model class of our
own, since lm-eval's API models send two requests where one will do, cut prompts at 2,047 tokens, and give
an empty answer for a failed request, which then counts as a wrong one.
"""

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias

import datasets
import lm_eval.api.task as lm_eval_task
import yaml
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.defaults import DEFAULT_OTHER_SEED
from lm_eval.evaluator import evaluate
from lm_eval.tasks import TaskManager

from harness import plan as planning
from harness.client import Client, RequestFailed
from harness.concurrently import concurrently
from harness.errors import HarnessError
from harness.samples import Sample
from harness.sglang_plugin.study_folder import hash_tokens

datasets.disable_progress_bars()
# Its bar for building prompts would come once for each part of a task, between the lines of our own progress.
lm_eval_task.tqdm = partial(lm_eval_task.tqdm, disable=True)
logging.getLogger("httpx").setLevel(logging.WARNING)

Outcome = dict[str, Any]
Key = tuple[int, int]
FIRST_TOKENS = 3
# What lm-eval is told of a failed request, since it must be told a number. Its sample is marked as failed and no
# result rests on it. Finite, for lm-eval takes a softmax of it.
NO_SCORE = -1e9


class Task:
    """One task of a plan, loaded: its prompts are known, nothing has been asked yet.

    Attributes:
        name: Its name.
        plan: What the plan says of it.
    """

    def __init__(self, name: str, plan: planning.Task, data: Path, folder: Path) -> None:
        """Load the task's YAML and its data.

        Args:
            name: The task.
            plan: What the plan says of it.
            data: The prepared data.
            folder: Where the task's YAML with the data's place in it is written, for lm-eval to load.

        Raises:
            HarnessError: The data lacks a file or questions, or lm-eval refuses the task.
        """
        self.name = name
        self.plan = plan
        self._task = _load(name, plan, data, folder)
        self._task.set_fewshot_seed(seed=DEFAULT_OTHER_SEED)
        available = len(self._task.eval_docs)
        if available < plan.questions:
            raise HarnessError(
                f"{name}: {plan.questions} questions are asked for, the data in {data} has {available} to score"
            )

    @property
    def metric_and_filter(self) -> list[str]:
        """Every `metric,filter` that the task can be judged by."""
        metrics = [metric["metric"] for metric in self._task.config.metric_list]
        return [f"{metric},{of.name}" for of in self._task._filters for metric in metrics]  # noqa: SLF001 - no public way

    def protocol(self) -> dict[str, Any]:
        """Return everything that decides what is asked and how it is read, for the report."""
        config = self._task.config
        generation = config.generation_kwargs or {}
        return {
            "task": Path(self.plan.file).name,
            "version": config.metadata["version"],
            "output_type": config.output_type,
            "fewshot": {
                "count": config.num_fewshot,
                "rows": "none"
                if not config.num_fewshot
                else f"{config.fewshot_config.sampler} of {config.fewshot_split}",
                "seed": DEFAULT_OTHER_SEED,
            },
            "bos": {"tokenizer": "what the tokenizer adds", "none": "none"}[config.metadata["bos"]],
            "truncation": "none: the server refuses a prompt that is too long, and the request counts as failed",
            "stop": generation.get("until"),
            "max_new_tokens": None if not generation else self._max_new_tokens(generation),
            "temperature": 0.0,
            "chat_template": "none",
            "thinking": "none: it is a mode of the chat template",
            "metrics": self.metric_and_filter,
        }

    def protocol_text(self) -> str:
        """Return the protocol in one line: what a threshold records and a run is compared by.

        What the number of questions, the server and the data are is recorded apart from it.
        """
        of = self.protocol()
        few = of["fewshot"]
        parts = [
            f"{of['task']} version {of['version']}",
            of["output_type"],
            f"{few['count']} shots" + (f" ({few['rows']})" if few["count"] else ""),
            f"BOS: {of['bos']}",
        ]
        if of["max_new_tokens"] is not None:
            parts.append(f"at most {of['max_new_tokens']} tokens, stop {json.dumps(of['stop'])}")
        return "; ".join(parts)

    def prompts(self) -> list[str]:
        """Return the text of every question's prompt, in the order they are asked."""
        self._task.build_all_requests(limit=self.plan.questions, rank=0, world_size=1)
        of_document = {instance.doc_id: instance.args[0] for instance in self._task.instances}
        return [of_document[document] for document in sorted(of_document)]

    def run(
        self,
        client: Client,
        *,
        record: Path,
        after_failure: Callable[[], None],
        advance: Callable[[], None],
        documents: range | None = None,
    ) -> list[Sample]:
        """Ask questions of one server.

        Args:
            client: The server.
            documents: Which of the task's documents; all questions of the plan if None.
            record: File to which each request's outcome is added as soon as it is known.
            after_failure: Called after each failed request; it raises if the server is gone.
            advance: Called after each question.

        Returns:
            A sample for each question and filter, by filter and document.

        Raises:
            HarnessError: The server is gone, or an outcome cannot be written.
        """
        bos = self._task.config.metadata["bos"] == "tokenizer"
        chosen = documents or range(self.plan.questions)
        with _appending(record) as write:
            model = _ServerModel(
                client,
                concurrency=self.plan.concurrency,
                special_tokens=bos,
                max_new_tokens=self._max_new_tokens,
                write=write,
                after_failure=after_failure,
                advance=advance,
                first_document=chosen.start,
            )
            # `evaluate` filters and scores; a bootstrap of its own would only cost time.
            results = evaluate(
                lm=model,
                task_dict={"tasks": {self.name: self._task}, "groups": {}},
                samples={self.name: list(chosen)},
                bootstrap_iters=0,
            )
        metrics = {filter_: metric for metric, filter_ in (of.split(",") for of in self.metric_and_filter)}
        samples = [
            _sample(self.name, row, metrics[row["filter"]], model.outcomes) for row in results["samples"][self.name]
        ]
        return sorted(samples, key=lambda sample: sample.key)

    def _max_new_tokens(self, generation: Mapping[str, Any]) -> int:
        return self.plan.max_new_tokens or int(generation["max_gen_toks"])


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One question as it goes to the server.

    Attributes:
        instances: lm-eval's requests that make it up: one, or one a choice.
        prompt: Token ids.
        choices: Token ids of each choice; none for a text to be generated.
    """

    instances: list[Instance]
    prompt: list[int]
    choices: list[list[int]]


# For each question what is known of each of its requests, or why nothing is.
Answers: TypeAlias = list[list[Outcome] | RequestFailed]


class _ServerModel(LM):  # type: ignore[misc]  # lm-eval has no types
    """lm-eval's model: sends requests to one server and keeps what lm-eval does not."""

    def __init__(
        self,
        client: Client,
        *,
        concurrency: int,
        special_tokens: bool,
        max_new_tokens: Callable[[Mapping[str, Any]], int],
        write: Callable[[Outcome], None],
        after_failure: Callable[[], None],
        advance: Callable[[], None],
        first_document: int,
    ) -> None:
        super().__init__()
        self.outcomes: dict[Key, Outcome] = {}
        self._client = client
        self._concurrency = concurrency
        self._special_tokens = special_tokens
        self._max_new_tokens = max_new_tokens
        self._write = write
        self._after_failure = after_failure
        self._advance = advance
        # lm-eval numbers the documents of a part from 0, and its samples by the whole.
        self._first_document = first_document

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Score continuations; those of one document and prompt are one question."""
        documents: dict[tuple[int, str], list[Instance]] = defaultdict(list)
        for instance in requests:
            documents[_doc_id(instance), instance.args[0]].append(instance)
        self._in_batches(self._score, list(documents.values()))
        outcomes = [self.outcomes[self._key(instance)] for instance in requests]
        return [(of["logprob"], of["greedy"]) if of["error"] is None else (NO_SCORE, False) for of in outcomes]

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Generate one text for each request."""
        self._in_batches(self._generate, [[request] for request in requests])
        return [self.outcomes[self._key(instance)]["text"] or "" for instance in requests]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Refuse: no task of ours asks for it."""
        raise NotImplementedError(f"no task of the harness scores whole texts, {len(requests)} requests do")

    def _in_batches(self, ask: Callable[[list[Asked]], Answers], questions: Sequence[list[Instance]]) -> None:
        """Ask `concurrency` questions at a time, in order, each batch in one request, and keep every outcome."""
        for start in range(0, len(questions), self._concurrency):
            batch = questions[start : start + self._concurrency]
            prepared = list(concurrently(self._prepared, batch, self._concurrency))
            answered = iter(ask([of for of in prepared if not isinstance(of, RequestFailed)]))
            answers = [of if isinstance(of, RequestFailed) else next(answered) for of in prepared]
            for instances, asked, answer in zip(batch, prepared, answers, strict=True):
                common = _outcome() | ({} if isinstance(asked, RequestFailed) else _of_prompt(asked.prompt))
                if isinstance(answer, RequestFailed):
                    found = [{"error": str(answer), "choice": _choice(of)} for of in instances]
                else:
                    found = answer
                for instance, outcome in zip(instances, found, strict=True):
                    self._keep(instance, common | outcome)
                self._advance()
            if any(isinstance(of, RequestFailed) for of in answers):
                self._after_failure()

    def _prepared(self, instances: list[Instance]) -> Asked | RequestFailed:
        """Return a question as token ids: a prompt, and its choices if it has any."""
        scored = instances[0].request_type == "loglikelihood"
        try:
            context = self._tokens(instances[0].args[0])
            if not scored:
                return Asked(instances=instances, prompt=context, choices=[])
            wholes = [self._tokens(choice.args[0] + choice.args[1]) for choice in instances]
        except RequestFailed as error:
            return error
        # A tokenizer may merge the end of the prompt with the choice: both are cut where all agree.
        shared = min(_shared(context, whole) for whole in wholes)
        return Asked(instances=instances, prompt=context[:shared], choices=[whole[shared:] for whole in wholes])

    def _score(self, batch: list[Asked]) -> Answers:
        found = self._client.score_many([(of.prompt, of.choices) for of in batch])
        return [
            scores
            if isinstance(scores, RequestFailed)
            else [
                {"choice": _choice(choice), "logprob": logprob, "greedy": greedy}
                for choice, logprob, greedy in zip(of.instances, scores.logprobs, scores.greedy, strict=True)
            ]
            for of, scores in zip(batch, found, strict=True)
        ]

    def _generate(self, batch: list[Asked]) -> Answers:
        if not batch:
            return []
        # A task's options are the same for each of its questions.
        options = batch[0].instances[0].args[1]
        found = self._client.generate_many(
            [of.prompt for of in batch], max_new_tokens=self._max_new_tokens(options), stop=options["until"]
        )
        return [
            of
            if isinstance(of, RequestFailed)
            else [{"text": of.text, "finish_reason": of.finish_reason, "generated_tokens": of.tokens}]
            for of in found
        ]

    def _tokens(self, text: str) -> list[int]:
        return self._client.tokenize(text, special=self._special_tokens)

    def _keep(self, instance: Instance, outcome: Outcome) -> None:
        document, request = key = self._key(instance)
        self.outcomes[key] = outcome
        self._write({"task": instance.task_name, "doc_id": document, "request": request, **outcome})

    def _key(self, instance: Instance) -> Key:
        return (self._first_document + _doc_id(instance), instance.idx)


def _load(name: str, plan: planning.Task, data: Path, folder: Path) -> Any:  # noqa: ANN401 - lm-eval's task
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    manager = TaskManager(include_defaults=False)
    folder.mkdir(parents=True, exist_ok=True)
    with_data = folder / f"{name}.yaml"
    try:
        config = yaml.load(Path(plan.file).read_text(), Loader=_PlainLoader)  # noqa: S506 - a SafeLoader
        files = {split: str(data / file) for split, file in config["metadata"]["data_files"].items()}
        missing = [file for file in files.values() if not Path(file).exists()]
        dataset = {"data_files": files, "cache_dir": str(data / ".arrow")}
        with_data.write_text(yaml.safe_dump({"include": plan.file, "dataset_kwargs": dataset}))
        task = None if missing else manager.load([str(with_data)])["tasks"][name]
    except Exception as error:
        # lm-eval, jinja and datasets raise errors of all kinds for a task that is broken.
        raise HarnessError(f"{plan.file}: lm-eval cannot load the task: {error!r}") from error
    if missing:
        raise HarnessError(f"{name}: the data lacks {', '.join(missing)}")
    return task


class _PlainLoader(yaml.SafeLoader):
    """Reads a task's YAML without importing the functions it names."""


_PlainLoader.add_constructor("!function", lambda _loader, node: node.value)


def _sample(task: str, row: Mapping[str, Any], metric: str, outcomes: Mapping[Key, Outcome]) -> Sample:
    document = row["doc_id"]
    own = [outcomes[document, index] for index in range(len(row["resps"]))]
    error = next((outcome["error"] for outcome in own if outcome["error"] is not None), None)
    choices = None if own[0]["choice"] is None else [outcome["choice"].strip() for outcome in own]
    logprobs = [outcome["logprob"] for outcome in own] if choices and error is None else None
    answer, target = row["filtered_resps"][0], str(row["target"])
    if choices:
        target = choices[int(row["target"])]
    if choices and logprobs:
        answer = choices[max(range(len(choices)), key=logprobs.__getitem__)]
    return Sample(
        task=task,
        filter=row["filter"],
        doc_id=document,
        doc_hash=row["doc_hash"],
        target=target,
        answer=answer if error is None else None,
        right=bool(row[metric]) if error is None else None,
        choices=choices if error is None else None,
        logprobs=logprobs,
        error=error,
        **{
            name: own[0][name]
            for name in (
                "prompt_hash",
                "prompt_tokens",
                "first_tokens",
                "text",
                "generated_tokens",
                "finish_reason",
            )
        },
    )


def _outcome() -> Outcome:
    return {
        "error": None,
        "prompt_hash": "",
        "prompt_tokens": 0,
        "first_tokens": [],
        "choice": None,
        "text": None,
        "generated_tokens": None,
        "finish_reason": None,
    }


def _of_prompt(prompt: Sequence[int]) -> Outcome:
    return {
        "prompt_hash": hash_tokens(prompt),
        "prompt_tokens": len(prompt),
        "first_tokens": list(prompt[:FIRST_TOKENS]),
    }


def _shared(context: Sequence[int], whole: Sequence[int]) -> int:
    """Return how many leading tokens of `context` also lead `whole`, leaving at least one of `whole`."""
    limit = min(len(context), len(whole) - 1)
    return next((index for index in range(limit) if context[index] != whole[index]), limit)


def _choice(instance: Instance) -> str | None:
    """Return the choice that a request scores; None where it asks for a text."""
    return str(instance.args[1]) if instance.request_type == "loglikelihood" else None


def _doc_id(instance: Instance) -> int:
    if instance.doc_id is None:
        raise HarnessError("lm-eval built a request without a document number")
    return int(instance.doc_id)


@contextmanager
def _appending(file: Path) -> Iterator[Callable[[Outcome], None]]:
    """Give a function that adds one line of JSON to `file`, from any thread, and does not buffer it."""
    lock = Lock()
    with file.open("a", encoding="utf-8") as out:

        def write(outcome: Outcome) -> None:
            with lock:
                out.write(json.dumps(outcome, ensure_ascii=False) + "\n")
                out.flush()

        yield write
