"""Reads a YAML file into a typed model and reports everything that is wrong with it, by line and key."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent, Event
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from harness.errors import ConfigError, Problem

# Far beyond any file of ours, and read within a second.
LARGEST, DEEPEST, MOST_NODES = 2**18, 32, 20_000
KeyPath = tuple[str | int, ...]
ModelT = TypeVar("ModelT", bound=BaseModel)


class YamlFile(Generic[ModelT]):
    """A checked YAML file that remembers on which line each key stands.

    Attributes:
        path: The file.
        content: Its content as the model.
    """

    def __init__(self, path: Path, model: type[ModelT]) -> None:
        """Read and check.

        Raises:
            ConfigError: The file cannot be read, is not YAML, repeats a key, or does not fit the model.
        """
        self.path = path
        try:
            with path.open("rb") as content:
                raw = content.read(LARGEST + 1)
            if len(raw) > LARGEST:
                raise ConfigError(
                    [Problem(file=path, message=f"is larger than {LARGEST} bytes: is it the right file?")]
                )
            text = raw.decode()
            yaml = YAML(typ="safe", pure=True)
            # A parser of its own: parsing changes what follows.
            self._check_depth(YAML(typ="safe", pure=True).parse(text))
            # All of them are found below, each with its line, and not the first alone.
            yaml.allow_duplicate_keys = True
            root = yaml.compose(text)
            self._check_size(root)
            # Refuses what composes but is no plain data: tags, keys that are lists.
            data = yaml.load(text)
        except OSError as error:
            raise ConfigError([Problem(file=path, message=f"cannot be read: {error.strerror}")]) from error
        except UnicodeDecodeError as error:
            raise ConfigError([Problem(file=path, message=f"is not UTF-8 text: {error.reason}")]) from error
        except MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else None
            raise ConfigError([Problem(file=path, line=line, message=f"is not YAML: {error.problem}")]) from error
        except (YAMLError, ValueError) as error:
            raise ConfigError([Problem(file=path, message=f"is not YAML: {error}")]) from error
        if root is None:
            raise ConfigError([Problem(file=path, message="is empty")])
        self._lines: dict[KeyPath, int] = {}
        problems = list(self._walk(root, ()))
        try:
            self.content = model.model_validate(data)
        except ValidationError as error:
            problems += [
                self.problem(tuple(finding["loc"]), _message(finding["type"], finding["msg"]))
                for finding in error.errors()
            ]
        if problems:
            raise ConfigError(sorted(problems, key=lambda problem: problem.line or 0))

    def _check_depth(self, events: Iterable[Event]) -> None:
        """Refuse what is nested deeper than any of our files, before anything walks down it.

        Raises:
            ConfigError: It is.
        """
        depth = 0
        for event in events:
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if depth > DEEPEST:
                line = event.start_mark.line + 1
                raise ConfigError(
                    [Problem(file=self.path, line=line, message=f"is nested more than {DEEPEST} levels deep")]
                )

    def _check_size(self, root: Node | None) -> None:
        """Refuse what grows out of all measure when its aliases are put in: a few lines can stand for billions.

        Raises:
            ConfigError: It does, or it holds itself.
        """
        sizes: dict[int, int] = {}

        def size(node: Node) -> int:
            if id(node) not in sizes:
                # As long as it is not known, a node that is met again holds itself.
                sizes[id(node)] = MOST_NODES + 1
                parts = [] if isinstance(node, ScalarNode) else node.value
                parts = [part for entry in parts for part in (entry if isinstance(entry, tuple) else (entry,))]
                sizes[id(node)] = min(MOST_NODES + 1, 1 + sum(map(size, parts)))
            return sizes[id(node)]

        if root is not None and size(root) > MOST_NODES:
            message = f"stands for more than {MOST_NODES} values once its aliases (*name) are put in: write them out"
            raise ConfigError([Problem(file=self.path, message=message)])

    def problem(self, key: KeyPath, message: str) -> Problem:
        """Return a problem at `key`, on the line of the key itself or of its nearest parent that exists."""
        known = key
        while known and known not in self._lines:
            known = known[:-1]
        dotted = ".".join(str(part) for part in key)
        return Problem(file=self.path, line=self._lines.get(known), key=dotted, message=message)

    def _walk(self, node: Node, path: KeyPath) -> Iterator[Problem]:
        """Note each key's line; yield a problem for each key that stands twice."""
        if isinstance(node, MappingNode):
            for key, value in node.value:
                if not isinstance(key, ScalarNode):
                    line = key.start_mark.line + 1
                    raise ConfigError(
                        [Problem(file=self.path, line=line, message="is not YAML: found unhashable key")]
                    )
                here = (*path, key.value)
                repeated = here in self._lines
                self._lines[here] = key.start_mark.line + 1
                if repeated:
                    yield self.problem(here, "stands here a second time")
                yield from self._walk(value, here)
        elif isinstance(node, SequenceNode):
            for index, value in enumerate(node.value):
                self._lines[(*path, index)] = value.start_mark.line + 1
                yield from self._walk(value, (*path, index))


def _message(kind: str, message: str) -> str:
    """Say pydantic's two most common findings in the words of someone editing a YAML file."""
    if kind == "extra_forbidden":
        return "is not a known key"
    if kind == "missing":
        return "is missing"
    return message.removeprefix("Value error, ")
