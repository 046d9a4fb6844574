"""What the harness and a running server exchange: one folder, known to both. Standard library only.

- `policy.json`: a `harness.sglang_plugin.policy.Policy`. The harness replaces it while the server is idle; every rank
  reads it again at the start of a prefill if it is another file by then.
- `texts.json`: the texts of which predictions are kept or compared, each a list of token ids. Read when it changed.
- `reference/HASH.pt`: what the server keeps of a text where its predictions are the reference.

What the server measures goes to its log's folder: predictions.jsonl.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from harness.sglang_plugin.policy import Policy, PolicyError, parse

POLICY = "policy.json"
TEXTS = "texts.json"
REFERENCE = "reference"


def hash_tokens(tokens: Sequence[int]) -> str:
    """Return the SHA-256 of token ids."""
    return hashlib.sha256(json.dumps(list(tokens)).encode()).hexdigest()


def write_policy(folder: Path, policy: Policy) -> None:
    """Put a policy into force from the next prefill on, whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    _replace(folder / POLICY, policy.content())


def write_texts(folder: Path, texts: Iterable[Sequence[int]]) -> None:
    """Say which texts' predictions are compared, as token ids.

    Raises:
        OSError: It cannot be written.
    """
    _replace(folder / TEXTS, [list(text) for text in texts])


class TextsFile:
    """The texts, as one process sees them.

    Args:
        folder: Where the file is, or is to be.

    Attributes:
        texts: Each text's token ids; none as long as there is no file.
    """

    def __init__(self, folder: Path) -> None:
        self._file = _Watched(folder / TEXTS)
        self.texts: list[tuple[int, ...]] = []

    def refresh(self) -> bool:
        """Read the file if it is another one than before; return whether it was.

        Raises:
            OSError: The file cannot be read.
            ValueError: It holds something else.
        """
        if not self._file.changed():
            return False
        content = json.loads(self._file.path.read_text(encoding="utf-8"))
        if not isinstance(content, list) or not all(isinstance(text, list) for text in content):
            raise ValueError(f"{self._file.path} holds no list of lists of token ids")
        self.texts = [tuple(text) for text in content]
        self._file.accept()
        return True


class PolicyFile:
    """The policy in force in one process.

    Args:
        folder: Where the file is, or is to be.
        otherwise: The policy in force as long as there is no file.
        problems: What keeps a policy from being carried out here.

    Attributes:
        policy: The policy in force.
    """

    def __init__(self, folder: Path, otherwise: Policy, problems: Callable[[Policy], Sequence[str]]) -> None:
        self._file = _Watched(folder / POLICY)
        self._problems = problems
        self.policy = otherwise
        self._check(otherwise)

    def refresh(self) -> bool:
        """Read the file if it is another one than before; return whether it was.

        Raises:
            PolicyError: Its policy cannot be carried out. Going on with another one would measure it under a wrong
                name.
        """
        if not self._file.changed():
            return False
        try:
            policy = parse(json.loads(self._file.path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise PolicyError([f"{self._file.path}: {error}"]) from error
        self._check(policy)
        self.policy = policy
        self._file.accept()
        return True

    def _check(self, policy: Policy) -> None:
        if problems := self._problems(policy):
            raise PolicyError([f"policy {policy.number} ({policy.name}): {problem}" for problem in problems])


class _Watched:
    """A file that is replaced now and then."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found: tuple[int, int] | None = None
        self._accepted: tuple[int, int] | None = None

    def changed(self) -> bool:
        """Return whether it is there, and another one than was accepted."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return False
        self._found = (found.st_mtime_ns, found.st_ino)
        return self._found != self._accepted

    def accept(self) -> None:
        """Have read what was found."""
        self._accepted = self._found


def _replace(file: Path, content: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    # Beside it: a rename is whole only within a file system.
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps(content), encoding="utf-8")
    draft.replace(file)
