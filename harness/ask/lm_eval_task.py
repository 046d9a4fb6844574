"""lm-eval's tasks as questionnaires: it builds the prompts, applies the filters and scores.

This module and lm_eval_model, through which the requests go, are the only ones that know lm-eval.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import lm_eval.api.task as lm_eval_task
from lm_eval.defaults import DEFAULT_OTHER_SEED
from lm_eval.evaluator import evaluate
from lm_eval.tasks import TaskManager
from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor

from harness.ask.lm_eval_model import Key, Outcome, ServerModel, appending
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


class LmEvalTask:
    """One task of a plan, loaded: its prompts are known, nothing has been asked yet.

    Attributes:
        name: Its name.
        plan: What the plan says of it.
    """

    unit = "questions"

    def __init__(self, name: str, plan: TaskPlan, data: Path, folder: Path) -> None:
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
        self._rows = _shuffle(self._task)
        available = len(self._rows)
        if available < plan.questions:
            raise HarnessError(
                f"{name}: {plan.questions} questions are asked for, the data in {data} has {available} to score"
            )

    @property
    def metric_and_filter(self) -> list[str]:
        """Every `metric,filter` that the task can be judged by."""
        metrics = [metric["metric"] for metric in self._task.config.metric_list]
        return [f"{metric},{filter_.name}" for filter_ in self._task._filters for metric in metrics]  # noqa: SLF001 - no public way

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
            "order": f"rows by the SHA-256 of seed and number, seed {ORDER_SEED}; the first questions of that order",
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
        """Return the text of every question's prompt, in the order they are asked."""
        self._task.build_all_requests(limit=self.plan.questions, rank=0, world_size=1)
        prompts = {instance.doc_id: instance.args[0] for instance in self._task.instances}
        return [prompts[document] for document in sorted(prompts)]

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
        with appending(folder.requests) as write:
            model = ServerModel(
                client,
                concurrency=self.plan.concurrency,
                special_tokens=self._task.config.metadata["bos"] == "tokenizer",
                max_new_tokens=self._max_new_tokens,
                write=write,
                after_failure=after_failure,
                advance=advance,
                first_document=part.start,
            )
            # `evaluate` filters and scores; a bootstrap of its own would only cost time.
            results = evaluate(
                lm=model,
                task_dict={"tasks": {self.name: self._task}, "groups": {}},
                samples={self.name: list(part)},
                bootstrap_iters=0,
            )
        metrics = {filter_: metric for metric, filter_ in (name.split(",") for name in self.metric_and_filter)}
        samples = [
            _sample(
                self.name,
                found,
                metrics[found["filter"]],
                model.outcomes,
                row=self._rows[found["doc_id"]],
                cluster=self._task.config.metadata.get("cluster"),
            )
            for found in results["samples"][self.name]
        ]
        write_samples(folder.samples(self.name), sorted(samples, key=lambda sample: sample.key))

    def _max_new_tokens(self, generation: Mapping[str, Any]) -> int:
        return self.plan.max_new_tokens or int(generation["max_gen_toks"])


def _load(name: str, plan: TaskPlan, data: Path, folder: Path) -> Any:  # noqa: ANN401 - lm-eval's task
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    manager = TaskManager(include_defaults=False)
    folder.mkdir(parents=True, exist_ok=True)
    with_data = folder / f"{name}.yaml"
    try:
        config = _PLAIN_YAML.load(Path(plan.file).read_text(encoding="utf-8"))
        files = {split: str(data / file) for split, file in config["metadata"]["data_files"].items()}
        missing = [file for file in files.values() if not Path(file).exists()]
        dataset = {"data_files": files, "cache_dir": str(data / ".arrow")}
        with with_data.open("w", encoding="utf-8") as out:
            _PLAIN_YAML.dump({"include": plan.file, "dataset_kwargs": dataset}, out)
        task = None if missing else manager.load([str(with_data)])["tasks"][name]
    except Exception as error:
        # lm-eval, jinja and datasets raise errors of all kinds for a task that is broken.
        raise HarnessError(f"{plan.file}: lm-eval cannot load the task: {error!r}") from error
    if missing:
        raise HarnessError(f"{name}: the data lacks {', '.join(missing)}")
    return task


class _PlainConstructor(SafeConstructor):
    """Reads a task's YAML without importing the functions it names."""


_PlainConstructor.add_constructor("!function", lambda _loader, node: node.value)
_PLAIN_YAML = YAML(typ="safe", pure=True)
_PLAIN_YAML.Constructor = _PlainConstructor


def _shuffle(task: Any) -> list[int]:  # noqa: ANN401 - lm-eval's task
    """Put a task's scored documents into the order of asking and return each one's number in the data."""
    documents = task.eval_docs
    rows = asking_order(len(documents))
    shuffled = documents.select(rows)
    # The examples that are shown come from the data itself, not from here.
    name = "test_docs" if task.has_test_docs() else "validation_docs"
    setattr(task, name, lambda: shuffled)
    return rows


def _sample(
    task: str,
    found: Mapping[str, Any],
    metric: str,
    outcomes: Mapping[Key, Outcome],
    *,
    row: int,
    cluster: str | None,
) -> Sample:
    document = found["doc_id"]
    own = [outcomes[document, index] for index in range(len(found["resps"]))]
    error = next((outcome["error"] for outcome in own if outcome["error"] is not None), None)
    choices = None if own[0]["choice"] is None else [outcome["choice"].strip() for outcome in own]
    logprobs = [outcome["logprob"] for outcome in own] if choices and error is None else None
    answer, target = found["filtered_resps"][0], str(found["target"])
    if choices:
        target = choices[int(found["target"])]
    if choices and logprobs:
        answer = choices[max(range(len(choices)), key=logprobs.__getitem__)]
    return Sample(
        task=task,
        filter=found["filter"],
        doc_id=document,
        row=row,
        doc_hash=found["doc_hash"],
        target=target,
        answer=answer if error is None else None,
        cluster=hashlib.sha256(str(found["doc"][cluster]).encode()).hexdigest() if cluster else None,
        right=bool(found[metric]) if error is None else None,
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
