"""Finds, before a server starts, prompts that it would refuse, and words those that go through a chat template."""

import json
from collections.abc import Sequence
from pathlib import Path

from harness.ask.lm_eval_task import LmEvalTask
from harness.errors import ConfigError, Problem
from harness.plan.plan import Plan
from harness.plan.tokenizer import ask_tokenizer
from harness.prepare.folder import limited

# No model that is served has a smaller context; a prompt of as few bytes fits in any, a token being one or more.
SMALLEST_CONTEXT = 1024
# SGLang's scheduler keeps so many tokens of the context, and of the cache, for itself (tp_worker.py,
# max_req_input_len, of 0.5.23).
KEPT = 7
SHOWN = 80


def word_chats(plan: Plan, tasks: Sequence[LmEvalTask]) -> None:
    """Have the model's chat template word the prompts of the tasks that use it.

    Raises:
        HarnessError: The model has no template, or it refuses a conversation.
    """
    for task in tasks:
        if task.chat is not None:
            task.contents()
            task.chat.fill(ask_tokenizer(plan, texts=[], chats=list(task.chat.wanted.values())).rendered)


def check_lengths(plan: Plan, tasks: Sequence[LmEvalTask]) -> None:
    """Do nothing if every prompt and what follows it fit into the model's context and the server's cache.

    A server refuses the whole request that a long prompt is in, its neighbours too. Only prompts that may be too long
    by their bytes are counted, with the server's own tokenizer.

    Raises:
        ConfigError: Some do not fit, with their tokens; at most ten a task are named.
        HarnessError: The tokenizer gave no answer.
    """
    cache = _number(plan, "--max-total-tokens")
    bytes_fit = min(_context(plan), cache or _context(plan)) - KEPT
    suspects = [
        (task, number, prompt, choice, follow)
        for task in tasks
        for number, (prompt, choice, follow) in enumerate(task.sizes())
        if len((prompt + choice).encode()) + follow + 1 > bytes_fit
    ]
    if not suspects:
        return
    texts = [(prompt + choice, task.special_tokens) for task, _number_, prompt, choice, _follow in suspects]
    found = ask_tokenizer(plan, texts=texts, chats=[])
    problems = []
    for (task, number, prompt, _choice, follow), tokens in zip(suspects, found.tokens, strict=True):
        place = min(found.context, cache or found.context)
        if tokens + max(follow, KEPT) > place:
            what = "context" if place == found.context else "cache (--max-total-tokens)"
            text = (
                f"is too long: {tokens} tokens and up to {follow} after them, the {what} is of {place}: leave it "
                f"out; it begins {prompt[:SHOWN]!r}"
            )
            problems.append(Problem(file=Path(task.name), key=f"question {task.number(number)}", message=text))
    if problems:
        raise ConfigError(list(limited(problems)))


def _context(plan: Plan) -> int:
    """Return a context length that the model surely has, in tokens."""
    if (chosen := _number(plan, "--context-length")) is not None:
        return chosen
    try:
        config = json.loads((Path(plan.model_path) / "config.json").read_text(encoding="utf-8"))
        return int(config["max_position_embeddings"])
    except (OSError, ValueError, KeyError, TypeError):
        return SMALLEST_CONTEXT


def _number(plan: Plan, name: str) -> int | None:
    """Return the value of a server's argument, in either of its forms."""
    argv = plan.arms[0].argv
    for index, argument in enumerate(argv):
        key, _, value = argument.partition("=")
        if key == name:
            text = value or (argv[index + 1] if index + 1 < len(argv) else "")
            return int(text) if text.isdecimal() else None
    return None
