import pytest

from harness.report.texts import BEFORE, Side, alike, cut, question_of, short, side_by_side


def marked(side: Side) -> str:
    return "".join(f"[{piece.text}]" if piece.differs else piece.text for piece in side.pieces)


@pytest.mark.parametrize(
    ("baseline", "compressed", "left", "right"),
    [
        ("it is 5 apples", "it is 6 apples", "it is [5] apples", "it is [6] apples"),
        ("the same", "the same", "the same", "the same"),
        ("", "all new", "", "[all new]"),
        ("one two", "one  two", "one[ ]two", "one[  ]two"),
        ("it is five", "that was five", "[it is] five", "[that was] five"),
        ("naïve 漢字", "naïve 漢子", "naïve [漢字]", "naïve [漢子]"),
    ],
)
def test_what_the_other_text_lacks_is_marked(baseline: str, compressed: str, left: str, right: str) -> None:
    first, second = side_by_side(baseline, compressed, limit=1000)
    assert (marked(first), marked(second)) == (left, right)


def test_an_invisible_difference_is_seen() -> None:
    first, second = side_by_side("pay 5", "pay\u200b 5", limit=1000)
    assert marked(second) == "pay[⟨U+200B⟩] 5" or "U+200B" in marked(second)
    assert "U+200B" not in marked(first)


def test_long_texts_are_cut_around_their_first_difference() -> None:
    same = "word " * 100_000
    first, second = side_by_side(f"{same}yes{same}", f"{same}no", limit=1000)
    assert first.before == second.before == len(same) - BEFORE
    assert "[yes" in marked(first)
    assert "[no" in marked(second)
    assert sum(len(piece.text) for piece in first.pieces) == 1000
    assert first.before + 1000 + first.after == 2 * len(same) + 3
    assert second.after == 0


def test_short_texts_are_shown_whole() -> None:
    first, _ = side_by_side("a" * 400 + "b", "a" * 400 + "c", limit=1000)
    assert (first.before, first.after) == (0, 0)


def test_a_text_that_repeats_itself_takes_no_time_to_compare() -> None:
    first, _ = side_by_side("a b " * 1000, "b a " * 1000 + "c", limit=4000)
    assert "".join(piece.text for piece in first.pieces) == "a b " * 1000


@pytest.mark.parametrize(
    ("one", "other", "count"), [("", "", 0), ("a", "", 0), ("abc", "abd", 2), ("abc", "abc", 3), ("x" * 999, "x", 1)]
)
def test_alike(one: str, other: str, count: int) -> None:
    assert alike(one, other) == count


def test_a_text_is_cut_in_its_middle() -> None:
    text = "".join(map(str, range(1000)))
    found = cut(text, 100)
    assert (len(found.beginning), len(found.end)) == (25, 75)
    assert found.left_out == len(text) - 100
    assert text.startswith(found.beginning)
    assert text.endswith(found.end)
    assert cut("short", 100).beginning == "short"


def test_a_line_is_short_and_harmless() -> None:
    assert short("two\nlines \x1b[2J", 40) == "two lines ␛[2J"
    assert short("x" * 1_000_000, 5) == "xxxxx…"


@pytest.mark.parametrize(
    ("prompt", "question"),
    [
        ("Passage.\nQuestion: is it?\nAnswer:", "Question: is it?"),
        ("Question: how many?\nAnswer: 4\n\nQuestion: how few?\nAnswer:", "Question: how few?"),
        ("one line", "one line"),
        ("<|im_start|>user\nQuestion: how far?\nAnswer:<|im_end|>\n<|im_start|>assistant\n", "Question: how far?"),
        ("Question: how?\nAnswer:<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n", "Question: how?"),
        ("<|im_start|>", "<|im_start|>"),
        ("", ""),
    ],
)
def test_the_question_is_the_last_line_that_asks(prompt: str, question: str) -> None:
    assert question_of(prompt) == question
