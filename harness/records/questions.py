"""A task's prompts, kept once a run for people to read: the arms' samples hold their hashes alone."""

from collections.abc import Sequence
from pathlib import Path

from harness.records.run import read_lines, write_whole
from harness.strict import Strict


class Question(Strict):
    """One question as it was put to the servers.

    Attributes:
        doc_id: Its number in the order of asking, as its samples have it.
        prompt: The text of its prompt, examples and chat template included.
    """

    doc_id: int
    prompt: str


def keep_prompts(file: Path, prompts: Sequence[str]) -> None:
    """Write a task's prompts in the order of asking, a Question a line, unless they are there.

    Args:
        file: The file; a run that goes on has it, with the same prompts, or its fingerprint would differ.
        prompts: The prompts.

    Raises:
        OSError: It cannot be written.
    """
    if file.exists():
        return
    file.parent.mkdir(exist_ok=True)
    questions = (Question(doc_id=number, prompt=prompt) for number, prompt in enumerate(prompts))
    write_whole(file, "".join(question.model_dump_json() + "\n" for question in questions))


def read_prompts(file: Path) -> dict[int, str]:
    """Return a task's prompts by number of the question; none where the run kept none, as older versions did.

    Raises:
        HarnessError: A line is no question.
    """
    if not file.exists():
        return {}
    return {question.doc_id: question.prompt for question in read_lines(file, Question, "a question")}
