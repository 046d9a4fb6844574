"""What SGLang's /generate would answer, as far as the harness reads it, and the ways to spoil such an answer."""

import math
import re
from collections.abc import Callable
from typing import Any

Answer = dict[str, Any]
KNOWN = "France"
GENERATED_TOKENS = 4
# Choices that a tokenizer has as one token each; every other letter is a token.
WORDS = {" no": 1_200_000, " yes": 1_200_001}
PIECES = {token: word for word, token in WORDS.items()}
LIKELY, UNLIKELY = -0.1, -5.0
UNCOMPRESSED = -0.5
_EVEN = re.compile(r"is (\d+) even\?\nAnswer: (yes|no)$")


def tokenize(text: str) -> list[int]:
    """Return a text's tokens: its letters, but a choice at its end is one."""
    for word, token in WORDS.items():
        if text.endswith(word):
            return [*map(ord, text.removesuffix(word)), token]
    return [ord(letter) for letter in text]


def piece(token: int) -> str:
    """Return a token as text."""
    return PIECES.get(token) or chr(token)


def is_known(tokens: list[int]) -> bool:
    """Return whether a prompt is the known answer's, asked before any task."""
    return KNOWN in "".join(map(piece, tokens))


def is_question(body: Answer) -> bool:
    """Return whether a request is a part of a task or text: not the known answer's, nor a prefix for the cache."""
    prefix = body["sampling_params"]["max_new_tokens"] == 0 and not body.get("return_logprob")
    return not prefix and not is_known(body["input_ids"])


def is_refused(tokens: list[int]) -> bool:
    """Return whether a prompt is the one of BoolQ's that a server refuses, alone and with others."""
    return "is 10 even" in "".join(map(piece, tokens))


def is_true(text: str) -> bool:
    """Return whether a prompt with a choice at its end is right: it can tell even numbers from odd ones."""
    asked = _EVEN.search(text)
    return text.endswith(" yes") if asked is None else (asked[2] == "yes") is (int(asked[1]) % 2 == 0)


def answer(body: Answer, *, mode: str) -> Answer:
    """Answer one prompt; the known answer rightly, ` yes` to every choice, 7 to every sum."""
    tokens: list[int] = body["input_ids"]
    text = "".join(map(piece, tokens))
    right = " banana" if mode == "wrong-answer" else " Paris"
    generated = min(GENERATED_TOKENS, body["sampling_params"]["max_new_tokens"])
    meta: Answer = {
        "id": body.get("rid", "fault-server"),
        "finish_reason": {"type": "length", "length": generated},
        "prompt_tokens": len(tokens),
        "cached_tokens": 0,
        "completion_tokens": generated,
    }
    if body.get("token_ids_logprob"):
        known = is_true(f"{text} yes") or not _EVEN.search(f"{text} yes")
        yes, no = (LIKELY, UNLIKELY) if known != (mode == "harmful") else (UNLIKELY, LIKELY)
        scores = {WORDS[" yes"]: yes, WORDS[" no"]: no}
        meta["output_token_ids_logprobs"] = [
            [[scores.get(token, UNLIKELY), token, None] for token in body["token_ids_logprob"]]
        ]
        meta["output_token_logprobs"] = [[LIKELY, WORDS[" yes"], None]]
    elif body.get("return_logprob"):
        choice = text.rsplit("is", 1)[-1] if KNOWN in text else text
        best = choice == right or is_true(text)
        scored = tokens[body["logprob_start_len"] + 1 :]
        meta["input_token_logprobs"] = [[LIKELY if best else UNLIKELY, token, None] for token in scored]
        meta["input_top_logprobs"] = [[[LIKELY, token, None]] for token in scored]
    if mode == "no-number" and KNOWN not in text:
        for scored in (meta.get("output_token_ids_logprobs", [[]])[0], meta.get("input_token_logprobs", [])):
            if scored:
                scored[-1][0] = None
    said = right if KNOWN in text else None if mode == "null-text" else " 7"
    return {"text": said, "meta_info": meta}


def following(*, compressed: bool, mode: str) -> float:
    """Return the log-probability of the token that follows in a fixed text."""
    return -1.0 if compressed and mode != "unmoved" else UNCOMPRESSED


def _each_logprob(number: object) -> Callable[[Answer], Any]:
    """Return what puts `number` in place of every log-probability of an answer."""

    def spoil(found: Answer) -> Answer:
        for name, entries in found["meta_info"].items():
            if not name.endswith("logprobs"):
                continue
            for entry in entries:
                rows = entry if entry and isinstance(entry[0], list) else [entry]
                for row in rows:
                    if row:
                        row[0] = number
        return found

    return spoil


def _meta(**changed: object) -> Callable[[Answer], Any]:
    return lambda found: {**found, "meta_info": {**found["meta_info"], **changed}}


def _of_others(found: Answer) -> Answer:
    for name, entries in found["meta_info"].items():
        if name in {"input_token_logprobs", "output_token_ids_logprobs"}:
            for entry in entries:
                for row in entry if isinstance(entry[0], list) else [entry]:
                    row[1] += 1
    return found


# What is done to one answer of an otherwise good server.
SPOILED: dict[str, Callable[[Answer], Any]] = {
    "text-null": lambda found: {**found, "text": None},
    "text-number": lambda found: {**found, "text": 7},
    "text-missing": lambda found: {"meta_info": found["meta_info"]},
    "text-control": lambda found: {**found, "text": "\x1b[31m 7\x00\u2028\r\n::error::no"},
    "text-surrogate": lambda found: {**found, "text": " 7\ud800"},
    "meta-missing": lambda found: {"text": found["text"]},
    "meta-text": lambda found: {**found, "meta_info": "none"},
    "a-list": lambda found: [found],
    "a-number": lambda _found: 7,
    "null": lambda _found: None,
    "aborted": _meta(finish_reason={"type": "abort", "message": "told to"}),
    "finish-null": _meta(finish_reason=None),
    "finish-unknown": _meta(finish_reason={"type": "sunset"}),
    "tokens-negative": _meta(completion_tokens=-4),
    "prompt-longer": lambda found: _meta(prompt_tokens=found["meta_info"]["prompt_tokens"] + 1)(found),
    "prompt-cut": _meta(prompt_tokens=1),
    "all-cached": lambda found: _meta(cached_tokens=found["meta_info"]["prompt_tokens"])(found),
    "logprobs-nan": _each_logprob(math.nan),
    "logprobs-null": _each_logprob(None),
    "logprobs-infinite": _each_logprob(-math.inf),
    "logprobs-positive": _each_logprob(3.5),
    "logprobs-text": _each_logprob("-0.1"),
    "logprobs-of-others": _of_others,
    "logprobs-empty": lambda found: {
        **found,
        "meta_info": {name: [] if name.endswith("logprobs") else entry for name, entry in found["meta_info"].items()},
    },
}
