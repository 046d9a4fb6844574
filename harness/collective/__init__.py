"""A compressed all-reduce: codecs x algorithms x backends. Imports torch and the standard library only."""

from harness.collective.algorithms.simulate import simulate_all_reduce
from harness.collective.all_reduce import quant_all_reduce
from harness.collective.backends.base import MissingBackendError
from harness.collective.candidate import find_candidate
from harness.collective.codec import Codec
from harness.collective.mechanisms import mechanism_names
from harness.collective.registry import UnknownCodecError, codec_names, get_codec
from harness.collective.wire import ring_bytes, wire_bytes

__all__ = [
    "Codec",
    "MissingBackendError",
    "UnknownCodecError",
    "codec_names",
    "find_candidate",
    "get_codec",
    "mechanism_names",
    "quant_all_reduce",
    "ring_bytes",
    "simulate_all_reduce",
    "wire_bytes",
]
