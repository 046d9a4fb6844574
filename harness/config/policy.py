"""A policy as people write it: a YAML file of rules, checked before any server starts."""

from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from harness.errors import ConfigError, Problem
from harness.places import ROOT
from harness.sglang_plugin.policy import Policy, PolicyError, parse


def read_policy(path: str | Path | None) -> Policy | None:
    """Read a policy.

    Args:
        path: The file, a relative one from the working directory or the repository's root; None for no policy.

    Returns:
        It, numbered 1, so that the logs tell it from what is in force without it.

    Raises:
        ConfigError: The file cannot be read or says no policy; all problems at once.
    """
    if path is None:
        return None
    file = Path(path) if Path(path).exists() else ROOT / path
    try:
        content = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
        policy = parse(content | {"number": 1} if isinstance(content, dict) else content)
    except PolicyError as error:
        raise ConfigError([Problem(file=file, message=problem) for problem in error.problems]) from error
    except OSError as error:
        raise ConfigError([Problem(file=file, message=f"cannot be read: {error.strerror}")]) from error
    except (YAMLError, ValueError) as error:
        raise ConfigError([Problem(file=file, message=f"is not YAML: {error}")]) from error
    if not policy.choices():
        raise ConfigError([Problem(file=file, message="compresses nothing: every rule says `plain`")])
    return policy
