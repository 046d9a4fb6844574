"""What a name can mean where all ranks are simulated: a codec with an algorithm, or a mechanism that has its own."""

from harness.collective.codec import Codec
from harness.collective.mechanisms import find_mechanism, mechanism_names
from harness.collective.mechanisms.mechanism import Mechanism
from harness.collective.registry import UnknownCodecError, get_codec

ALGORITHMS = ("one_shot", "two_shot")
OWN = "own"
"""A mechanism's algorithm, where one has to be named."""


def find_candidate(name: str | Codec, algorithm: str | None = None) -> tuple[Codec | Mechanism, str]:
    """The codec or mechanism, and the algorithm.

    Args:
        name: A codec or its name, a mechanism's (``mechanism_names()``), or ``module:function``.
        algorithm: ``one_shot`` or ``two_shot``; None is ``one_shot`` for a codec; ``own`` or None for a mechanism.

    Raises:
        UnknownCodecError: Nothing has this name; the message lists what there is.
        ValueError: No such algorithm, or one beside a mechanism's own.
        TypeError: ``module:function`` names no function.
        ImportError: Its module can't be imported.
    """
    if isinstance(name, str) and (mechanism := find_mechanism(name)):
        if algorithm not in {None, OWN}:
            raise ValueError(f"{name} has an algorithm of its own; leave {algorithm!r} out")
        return mechanism, ""
    algorithm = algorithm or ALGORITHMS[0]
    if algorithm not in ALGORITHMS:
        raise ValueError(f"no algorithm is named {algorithm!r}; there are: {', '.join(ALGORITHMS)}")
    try:
        return get_codec(name), algorithm
    except UnknownCodecError as error:
        raise UnknownCodecError(error.name, mechanism_names()) from None
