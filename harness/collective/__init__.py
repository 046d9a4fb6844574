"""A compressed all-reduce: codecs x algorithms x backends. Imports torch and the standard library only."""

from harness.collective.all_reduce import quant_all_reduce
from harness.collective.codec import Codec
from harness.collective.registry import UnknownCodecError, codec_names, get_codec
from harness.collective.wire import ring_bytes, wire_bytes

__all__ = [
    "Codec",
    "UnknownCodecError",
    "codec_names",
    "get_codec",
    "quant_all_reduce",
    "ring_bytes",
    "wire_bytes",
]
