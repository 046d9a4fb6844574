"""The codecs by name."""

from harness.collective.codec import Codec
from harness.collective.codecs.int8 import Int8
from harness.collective.codecs.none import NoCompression

_CODECS: dict[str, Codec] = {
    codec.name: codec
    for codec in (
        NoCompression(),
        Int8("int8_token"),
    )
}


class UnknownCodecError(ValueError):
    """A codec was asked for that does not exist; the message lists those that do."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no codec is named {name!r}; there are: {', '.join(codec_names())}")


def codec_names() -> tuple[str, ...]:
    """Every codec's name."""
    return tuple(_CODECS)


def get_codec(codec: str | Codec) -> Codec:
    """Looks a codec up; a codec itself is returned as it is.

    Raises:
        UnknownCodecError: No codec has this name.
    """
    if isinstance(codec, Codec):
        return codec
    try:
        return _CODECS[codec]
    except KeyError:
        raise UnknownCodecError(codec) from None
