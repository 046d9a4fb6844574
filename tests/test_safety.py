import pytest

from harness.safety import harmless, names_secret, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, tabs\tand\nlines: äöü 漢字", "plain text, tabs\tand\nlines: äöü 漢字"),
        ("a::b and ::c", "a::b and ::c"),
        ("::error::stolen", ": :error::stolen"),
        ("first\n  ::set-output name=x::y", "first\n  : :set-output name=x::y"),
        ("log ##[error]stolen", "log # #[error]stolen"),
        ("\x1b[2J\x1b[31mred\x1b[0m", "??red?"),
        ("\x1b]0;title\x07", "?]0;title?"),
        ("bell\x07 back\x08 return\r", "bell? back? return?"),
        ("\u202egnp.exe", "?gnp.exe"),
    ],
)
def test_text_of_unknown_origin_steers_nothing(text: str, shown: str) -> None:
    assert harmless(text) == shown
    assert harmless(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, tabs\tand\nlines: äöü 漢字 👩\u200d🔬", "plain text, tabs\tand\nlines: äöü 漢字 👩\u200d🔬"),
        ("\x1b[31mred\x00\x7f\r", "␛[31mred␀␡␍"),
        ("\u202egnp.exe\u2069", "⟨U+202E⟩gnp.exe⟨U+2069⟩"),
        ("half \ud83d\ufeff \uffff \U000e0041", "half ⟨U+D83D⟩⟨U+FEFF⟩ ⟨U+FFFF⟩ ⟨U+E0041⟩"),
    ],
)
def test_what_is_not_seen_is_named(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible(shown) == shown
    assert shown.encode()


@pytest.mark.parametrize(
    ("variable", "secret"),
    [
        *(
            (name, True)
            for name in ("HF_TOKEN", "SGLANG_API_KEY", "AWS_SECRET_ACCESS", "DB_PASSWORD", "hf_token", "KEY")
        ),
        *((name, False) for name in ("SGLANG_MAX_TOKENS", "MONKEY_BARS", "KEYBOARD", "OMP_NUM_THREADS", "SECRETARY")),
    ],
)
def test_secrets_are_known_by_the_words_of_their_names(variable: str, secret: bool) -> None:  # noqa: FBT001
    assert names_secret(variable) is secret
