"""What is being tested: an implementation and what it claims to be."""

import functools
from dataclasses import dataclass

from harness.collective import Codec, codec_names, get_codec, quant_all_reduce
from harness.collective.candidate import ALGORITHMS
from harness.collective.codecs.spared_columns import SparedColumns
from harness.collective.coordinator import Compressed
from harness.collective.implementation import load_implementation
from suites.implementations.bundled import SPARING


@dataclass(frozen=True, kw_only=True)
class Subject:
    """An implementation, and the codec and algorithm whose bound, noise and bytes it claims.

    ``implementation`` is ``package.module:function`` with the signature ``f(x, group) -> Tensor``, or None
    for the bundled collective.
    """

    codec: str = "int8_token"
    algorithm: str = "one_shot"
    implementation: str | None = None

    def __str__(self) -> str:
        return f"{self.implementation or 'bundled'}[{self.codec},{self.algorithm}]"

    @property
    def claimed(self) -> Codec:
        """The codec that is claimed."""
        return get_codec(self.codec)

    def takes(self, width: int) -> bool:
        """Whether a row of this width has every column that the codec's name speaks of."""
        return not isinstance(self.claimed, SparedColumns) or self.claimed.columns[-1] < width

    @property
    def options(self) -> str:
        """The suite's options that choose this subject."""
        chosen = f"--codec {self.codec} --algorithm {self.algorithm}"
        return f"--impl {self.implementation} {chosen}" if self.implementation else chosen

    def load(self) -> Compressed:
        """The function itself."""
        if self.implementation is None:
            return functools.partial(quant_all_reduce, codec=self.codec, algorithm=self.algorithm)
        return load_implementation(self.implementation)


def choose_subjects(implementation: str | None, codec: str | None, algorithm: str | None) -> list[Subject]:
    """The subjects that a command's options name.

    Args:
        implementation: ``package.module:function``, or None for the bundled collective.
        codec: This one only; of an implementation what it claims, ``int8_token`` where it is left out.
        algorithm: Likewise; ``one_shot``.

    Raises:
        UnknownCodecError: No codec has that name.
    """
    name = get_codec(codec).name if codec else None
    if implementation:
        return [Subject(implementation=implementation, codec=name or "int8_token", algorithm=algorithm or "one_shot")]
    codecs, algorithms = [name] if name else (*codec_names(), *SPARING), [algorithm] if algorithm else ALGORITHMS
    return [Subject(codec=codec, algorithm=algorithm) for codec in codecs for algorithm in algorithms]
