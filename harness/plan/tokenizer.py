"""Asks the tokenizer that SGLang will use, in its own interpreter, before a server does."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import HarnessError
from harness.plan.plan import KEY_FILE, PORT, Plan
from harness.plan.preflight import ask_interpreter

MODULE, WHAT = "harness.sglang_plugin.tokenizer", "load the model's tokenizer"


@dataclass(frozen=True, kw_only=True)
class Tokenized:
    """What the tokenizer says.

    Attributes:
        context: The model's context length in tokens.
        tokens: How many tokens each text has.
        rendered: Each chat in the words of the model's template.
    """

    context: int
    tokens: list[int]
    rendered: list[str]


def ask_tokenizer(plan: Plan, *, texts: Sequence[tuple[str, bool]], chats: Sequence[dict[str, Any]]) -> Tokenized:
    """Have texts counted and chats worded.

    Args:
        plan: The plan, whose baseline's arguments say the model and its tokenizer.
        texts: Texts, and whether the tokenizer adds its special tokens.
        chats: Conversations, as `harness.sglang_plugin.tokenizer` takes them.

    Raises:
        HarnessError: The interpreter gave no answer, or the tokenizer has no chat template.
    """
    arm = plan.arms[0]
    request = {
        # The key's file, which is made at the start, says nothing of the tokenizer.
        "arguments": [{PORT: "1"}.get(argument, argument) for argument in _without_key(arm.argv[2:])],
        "texts": [list(text) for text in texts],
        "chats": list(chats),
    }
    found = ask_interpreter(plan.server_python, MODULE, request, arm.environment(), WHAT)
    try:
        problem = found["problem"]
        tokenized = Tokenized(context=found["context"], tokens=found["tokens"], rendered=found["rendered"])
    except (KeyError, TypeError) as error:
        raise HarnessError(f"{plan.server_python} cannot {WHAT}: its answer is none: {error!r}") from error
    if problem:
        raise HarnessError(f"apply_chat_template: there is no chat template: {problem}")
    return tokenized


def _without_key(argv: Sequence[str]) -> list[str]:
    at = argv.index(KEY_FILE) if KEY_FILE in argv else None
    return list(argv) if at is None else [*argv[: at - 1], *argv[at + 1 :]]
