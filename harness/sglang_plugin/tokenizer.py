"""Counts tokens and fills in chat templates with the tokenizer that SGLang will use, before any server starts.

    python -m harness.sglang_plugin.tokenizer  < REQUEST.json  > ANSWER.json

Run by the server's interpreter; imports the standard library and SGLang only.
"""

import argparse
from importlib import import_module
from typing import Any

from harness.sglang_plugin.on_stdin import reply


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Answer a request.

    Args:
        request: `arguments`, those of `sglang serve`; `texts`, each a text and whether special tokens are added;
            `chats`, each `messages`, `generate` (whether the model's turn is opened) and `options` of the template.

    Returns:
        `context`, the model's context length in tokens as SGLang reads it; `tokens`, the number of each text's;
        `rendered`, the text of each chat; `problem`, why there is none of this, or empty.
    """
    chosen = _arguments(request["arguments"])
    hf = import_module("sglang.srt.utils.hf_transformers_utils")
    remote = bool(getattr(chosen, "trust_remote_code", False))
    revision = getattr(chosen, "revision", None)
    place = getattr(chosen, "tokenizer_path", None) or chosen.model_path
    tokenizer: Any = hf.get_tokenizer(place, trust_remote_code=remote, tokenizer_revision=revision)
    context = getattr(chosen, "context_length", None)
    if context is None:
        config = hf.get_config(chosen.model_path, trust_remote_code=remote, revision=revision)
        context = hf.get_context_length(getattr(config, "text_config", None) or config)
    chats = request["chats"]
    if chats and not getattr(tokenizer, "chat_template", None):
        return {"context": context, "tokens": [], "rendered": [], "problem": f"the tokenizer of {place} has none"}
    rendered = [
        tokenizer.apply_chat_template(
            chat["messages"], tokenize=False, add_generation_prompt=chat["generate"], **chat["options"]
        )
        for chat in chats
    ]
    tokens = [len(tokenizer.encode(text, add_special_tokens=special)) for text, special in request["texts"]]
    return {"context": int(context), "tokens": tokens, "rendered": rendered, "problem": ""}


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(add_help=False)
    import_module("sglang.srt.server_args").ServerArgs.add_cli_args(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    reply(answer)
