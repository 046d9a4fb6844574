"""The codecs by name."""

import copy
import functools
import re
from fractions import Fraction

from harness.collective.codec import Codec
from harness.collective.codecs.fp8_e4m3 import Fp8E4m3
from harness.collective.codecs.int4 import Int4
from harness.collective.codecs.int6 import Int6
from harness.collective.codecs.int8 import Int8
from harness.collective.codecs.none import NoCompression
from harness.collective.codecs.npu_reciprocal import NpuReciprocal
from harness.collective.codecs.rotated import Rotated
from harness.collective.codecs.spared_columns import SparedColumns
from harness.collective.codecs.upstream_bf16 import UpstreamBf16

_CODECS: dict[str, Codec] = {
    codec.name: codec
    for codec in (
        NoCompression(),
        Int8("int8_token"),
        Int8("int8_group32", group=32),
        Int8("int8_group64", group=64),
        Int8("int8_group128", group=128),
        Fp8E4m3("fp8_e4m3_token"),
        Fp8E4m3("fp8_group128", group=128),
        Int4("int4_group32", group=32),
        Int6("int6_group32", group=32),
        Rotated("int8_hadamard", Int8),
        Rotated("int6_hadamard", Int6),
        Rotated("int4_hadamard", Int4),
        UpstreamBf16("upstream_bf16"),
        NpuReciprocal("npu_reciprocal"),
    )
}

_ALIASES = {"int8_group": "int8_group128", "fp8_group": "fp8_group128", "int4_group": "int4_group32"}
"""The group size that is meant where none is named."""


_SPARING = re.compile(
    r"(?P<base>.+)_(?:columns(?P<columns>\d+(?:\+\d+)*)|rows(?P<percent>\d+(?:\.\d+)?))",
)

SPARING_NAMES = "CODEC_columns12+77 (these columns in full), CODEC_rows4 (4 % of the rows in full)"


class UnknownCodecError(ValueError):
    """A codec was asked for that does not exist; the message lists those that do."""

    def __init__(self, name: str, others: tuple[str, ...] = ()) -> None:
        self.name = name
        there_are = ", ".join((*codec_names(), *others))
        super().__init__(f"no codec is named {name!r}; there are: {there_are}; and {SPARING_NAMES}")


def codec_names() -> tuple[str, ...]:
    """Every codec's name, but for those that take parameters (``SPARING_NAMES``).

    ``int8_group``, ``fp8_group`` and ``int4_group`` mean groups of 128, 128 and 32.
    """
    return tuple(_CODECS)


def get_codec(codec: str | Codec) -> Codec:
    """Looks a codec up; a codec itself is returned as it is.

    A codec's name may be followed by ``_columns12+77``: columns 12 and 77 are sent in full (``SparedColumns``);
    or by ``_rows4``: of each message, the 4 % of rows with the largest crest are
    (``harness.collective.spared_rows``). In full is in the message's dtype.

    Raises:
        UnknownCodecError: No codec has this name.
        ValueError: It can't spare what its name says.
    """
    if isinstance(codec, Codec):
        return codec
    return _CODECS.get(_ALIASES.get(codec, codec)) or _sparing(codec)


@functools.lru_cache(maxsize=256)
def _sparing(name: str) -> Codec:
    # Not around the whole search: torch.compile warns of every cached function that it meets.
    sparing = _SPARING.fullmatch(name)
    if sparing is None:
        raise UnknownCodecError(name)
    try:
        base = get_codec(sparing["base"])
    except UnknownCodecError:
        raise UnknownCodecError(name) from None
    if sparing["columns"]:
        return SparedColumns(name, base, tuple(int(column) for column in sparing["columns"].split("+")))
    share = Fraction(sparing["percent"]) / 100
    if not 0 < share < 1:
        raise ValueError(f"{name!r}: a share of rows to be spared is more than 0 and less than 100 %")
    if base.spared_rows or base.rounds_sum or isinstance(base, SparedColumns):
        raise ValueError(f"{name!r}: rows cannot be spared from what {base.name!r} encodes")
    codec = copy.copy(base)
    codec.name, codec.spared_rows = name, share
    return codec
