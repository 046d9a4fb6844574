"""What a session is given, and what it ends with."""

import pytest

import command_line


@pytest.mark.parametrize(
    ("arguments", "value", "rest"),
    [
        ([], "default", []),
        (["--limit", "4"], "default", ["--limit", "4"]),
        (["--suite", "a", "--limit=4"], "a", ["--limit=4"]),
        (["--limit", "4", "--suite=a=b", "path"], "a=b", ["--limit", "4", "path"]),
        # No abbreviations: `--suites` is somebody else's option.
        (["--suites", "a"], "default", ["--suites", "a"]),
        (["--sui", "a"], "default", ["--sui", "a"]),
    ],
)
def test_an_option_is_taken_out_and_all_others_stay(arguments: list[str], value: str, rest: list[str]) -> None:
    assert command_line.pop_option(arguments, "--suite", "default") == (value, rest)
