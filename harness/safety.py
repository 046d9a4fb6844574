"""What must not leak, and what must not be obeyed: the names of secrets, and text of unknown origin."""

import json
import re
from typing import Any

# ANSI's control sequences, and the other characters that steer a terminal; line ends and tabs are left.
_STEERING = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
# What a CI runner takes for a command to itself: `::error::` at a line's beginning, `##[error]` anywhere.
_COMMAND = re.compile(r"^(\s*)::|##(?=\[)", re.MULTILINE)


def harmless(text: str) -> str:
    """Return a text of unknown origin, such as a server's log, so that no terminal and no CI runner obeys it."""
    return _COMMAND.sub(lambda found: f"{found[1]}: :" if found[1] is not None else "# #", _STEERING.sub("?", text))


# What is not seen, what changes the order of what stands beside it, and what no XML may hold; line ends and tabs are
# left, and the joiners that emoji and several scripts need.
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\ufffe\uffff\U000e0000-\U000e007f]"
)
_PICTURES, _DELETE = 0x2400, 0x7F


def visible(text: str) -> str:
    """Return a text of unknown origin with each character named that is not seen, or steers what shows it.

    Control characters become their pictures, an escape ␛; others their code points, such as
    ⟨U+202E⟩ and halves of surrogate pairs. The
    result can be encoded, is valid in XML, and steers nothing.
    """
    return _UNSEEN.sub(_picture, text)


def _picture(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < ord(" "):
        return chr(_PICTURES + code)
    return (
        "\N{SYMBOL FOR DELETE}"
        if code == _DELETE
        else f"\N{MATHEMATICAL LEFT ANGLE BRACKET}U+{code:04X}\N{MATHEMATICAL RIGHT ANGLE BRACKET}"
    )


def parse_line(text: str) -> Any:  # noqa: ANN401 - whatever it holds
    """Return what a line of JSON says.

    Raises:
        ValueError: It is no JSON, or nested more deeply than anything that is written here.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("is nested too deeply") from None


# Whole words: SGLANG_..._MAX_TOKENS is none.
_SECRET = re.compile(r"(^|_)(TOKEN|APIKEY|KEYS?|SECRETS?|PASSWORDS?|PASSWD|CREDENTIALS?)(_|$)", re.IGNORECASE)


def names_secret(variable: str) -> bool:
    """Return whether a variable's name says that its value is a secret: a token, key, secret or password."""
    return _SECRET.search(variable) is not None
