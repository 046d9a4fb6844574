"""Reads a YAML file into a typed model and reports everything that is wrong with it, by line and key."""

from collections.abc import Iterator
from pathlib import Path
from typing import Generic, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from harness.errors import ConfigError, Problem

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
            text = path.read_text(encoding="utf-8")
            root = yaml.compose(text, yaml.SafeLoader)
            # Refuses what composes but is no plain data: tags, keys that are lists.
            data = yaml.safe_load(text)
        except OSError as error:
            raise ConfigError([Problem(file=path, message=f"cannot be read: {error.strerror}")]) from error
        except UnicodeDecodeError as error:
            raise ConfigError([Problem(file=path, message=f"is not UTF-8 text: {error.reason}")]) from error
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else None
            raise ConfigError([Problem(file=path, line=line, message=f"is not YAML: {error.problem}")]) from error
        except (yaml.YAMLError, ValueError) as error:
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

    def problem(self, key: KeyPath, message: str) -> Problem:
        """Return a problem at `key`, on the line of the key itself or of its nearest parent that exists."""
        known = key
        while known and known not in self._lines:
            known = known[:-1]
        dotted = ".".join(str(part) for part in key)
        return Problem(file=self.path, line=self._lines.get(known), key=dotted, message=message)

    def _walk(self, node: yaml.Node, path: KeyPath) -> Iterator[Problem]:
        """Note each key's line; yield a problem for each key that stands twice, which YAML would let pass."""
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                here = (*path, key.value)
                repeated = here in self._lines
                self._lines[here] = key.start_mark.line + 1
                if repeated:
                    yield self.problem(here, "stands here a second time")
                yield from self._walk(value, here)
        elif isinstance(node, yaml.SequenceNode):
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
