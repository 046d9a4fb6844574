"""Prompts in the words of a model's chat template, which the tokenizer in SGLang's own Python fills in beforehand."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import HarnessError
from harness.plan.plan import Chat

History = Sequence[Mapping[str, Any]]


class Renderings:
    """What lm-eval calls for each prompt: the texts that were made before the first server started.

    Called for a conversation that is not among them it notes it and gives nothing, until `fill` was called.

    Attributes:
        plan: What the suite says of the template.
        wanted: The conversations that were asked for and are not there, each as `tokenize` takes it.
    """

    def __init__(self, plan: Chat) -> None:
        self.plan = plan
        self.wanted: dict[str, dict[str, Any]] = {}
        self._texts: dict[str, str] | None = None

    def __call__(self, history: History, add_generation_prompt: bool = True) -> str:  # noqa: FBT001, FBT002 - lm-eval's
        """Return a conversation's text.

        Raises:
            HarnessError: The texts were made, and this is none of them.
        """
        asked = {"messages": [dict(turn) for turn in history], "generate": add_generation_prompt}
        key = json.dumps(asked, sort_keys=True)
        if self._texts is None:
            options = {} if self.plan.thinking is None else {"enable_thinking": self.plan.thinking}
            self.wanted[key] = {**asked, "options": options}
            return ""
        if key not in self._texts:
            raise HarnessError(f"no text was made of the conversation that begins {key[:200]}")
        return self._texts[key]

    @property
    def filled(self) -> bool:
        """Whether the texts were made."""
        return self._texts is not None

    def fill(self, texts: Sequence[str]) -> None:
        """Take the texts of what was wanted, in its order."""
        self._texts = dict(zip(self.wanted, texts, strict=True))
