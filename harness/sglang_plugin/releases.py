"""What differs between the releases of SGLang that the plugin runs in, from 0.5.11 on: each difference in one place.

Where a release can be asked, it is asked; its number decides nothing here. What its models do with the flag is in
harness.plan.flag_coverage.
"""

import argparse
import inspect
from types import WrapperDescriptorType
from typing import Any

OLDEST = "0.5.11"
"""The first release with both the flag and the plugin mechanism."""

SPELLINGS = (
    ("--cuda-graph-max-bs-decode", "--cuda-graph-max-bs"),
    ("--cuda-graph-backend-prefill=disabled", "--disable-piecewise-cuda-graph"),
    ("--cuda-graph-backend-decode=disabled", "--disable-cuda-graph"),
)
"""Arguments as suites write them, the newest release's, and as those releases spell them that do not know it: all up
to 0.5.13. One without `=` keeps the value that it is given."""

KERNEL_HOLDER = "sglang.srt.distributed.device_communicators.npu_communicator"
"""Where the NPU's kernel is called up to 0.5.22, by a name that is bound when this is imported; 0.5.23 imports the
kernel anew in every call."""

LONG_NAMES = {
    "dp_size": "data_parallel_size",
    "pp_size": "pipeline_parallel_size",
    "tp_size": "tensor_parallel_size",
    "attn_cp_size": "attention_context_parallel_size",
}
"""Arguments as `ServerArgs` names them, and as the parser's answer does up to 0.5.13."""


def set_argument(server_args: Any, name: str, value: object) -> None:  # noqa: ANN401 - SGLang's ServerArgs
    """Set one of SGLang's arguments, below whatever seals them.

    `ServerArgs` is a dataclass up to 0.5.19 and a msgspec Struct from 0.5.20 on; from 0.5.18 on a setter of its own
    refuses what comes after the arguments are resolved. The first setter among its bases that is not written in
    Python is the type's own; `object`'s does not work on a Struct.
    """
    for base in type(server_args).__mro__:
        setter = vars(base).get("__setattr__")
        if isinstance(setter, WrapperDescriptorType):
            setter(server_args, name, value)
            return


def argument_names(server_args: Any) -> list[str]:  # noqa: ANN401 - SGLang's ServerArgs
    """Return the names of all of SGLang's arguments, of the class `ServerArgs`: see `set_argument`."""
    return list(getattr(server_args, "__struct_fields__", ()) or getattr(server_args, "__dataclass_fields__", ()))


def logits(processor: Any, states: Any, lm_head: Any, metadata: Any) -> Any:  # noqa: ANN401 - SGLang's
    """Return the logits of final hidden states, in memory of their own.

    From 0.5.16 on `LogitsProcessor._get_logits` writes into one buffer unless told otherwise; before there is none.
    """
    compute = processor._get_logits  # noqa: SLF001 - SGLang has no other name for it
    if "use_logits_buffer" in inspect.signature(compute).parameters:
        return compute(states, lm_head, metadata, use_logits_buffer=False)
    return compute(states, lm_head, metadata)


def chosen(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what the parser made of a server's arguments, by the names of `ServerArgs`."""
    found = vars(arguments)
    return {**found, **{name: found[long] for name, long in LONG_NAMES.items() if long in found}}


def spelled(parser: argparse.ArgumentParser, arguments: list[str]) -> dict[str, str]:
    """Return how a release spells those of the arguments that it has under another name.

    Args:
        parser: The release's own.
        arguments: A server's arguments.

    Returns:
        Argument to argument, as they stand in the command; those that it takes as they are are not in it.
    """
    known = parser._option_string_actions  # noqa: SLF001 - argparse has no other way to ask
    found = {}
    for argument in arguments:
        for newest, older in SPELLINGS:
            wanted = argument if "=" in newest else argument.partition("=")[0]
            if wanted == newest and newest.partition("=")[0] not in known and older in known:
                found[argument] = older + argument.removeprefix(newest)
    return found
