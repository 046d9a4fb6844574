"""The codecs by name."""

from harness.collective.codec import Codec
from harness.collective.codecs.fp8_e4m3 import Fp8E4m3
from harness.collective.codecs.int4 import Int4
from harness.collective.codecs.int8 import Int8
from harness.collective.codecs.int8_hadamard import Int8Hadamard
from harness.collective.codecs.none import NoCompression
from harness.collective.codecs.npu_reciprocal import NpuReciprocal
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
        Int8Hadamard(),
        UpstreamBf16("upstream_bf16"),
        NpuReciprocal("npu_reciprocal"),
    )
}

_ALIASES = {"int8_group": "int8_group128", "fp8_group": "fp8_group128", "int4_group": "int4_group32"}
"""The group size that is meant where none is named."""


class UnknownCodecError(ValueError):
    """A codec was asked for that does not exist; the message lists those that do."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no codec is named {name!r}; there are: {', '.join(codec_names())}")


def codec_names() -> tuple[str, ...]:
    """Every codec's name. ``int8_group``, ``fp8_group`` and ``int4_group`` mean groups of 128, 128 and 32."""
    return tuple(_CODECS)


def get_codec(codec: str | Codec) -> Codec:
    """Looks a codec up; a codec itself is returned as it is.

    Raises:
        UnknownCodecError: No codec has this name.
    """
    if isinstance(codec, Codec):
        return codec
    try:
        return _CODECS[_ALIASES.get(codec, codec)]
    except KeyError:
        raise UnknownCodecError(codec) from None
