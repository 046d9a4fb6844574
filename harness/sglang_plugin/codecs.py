"""Whether a policy's codecs exist in the interpreter that is to run them, and what they are there."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from torch import Tensor

from harness.collective import find_candidate, get_codec, quant_all_reduce, simulate_all_reduce, wire_bytes
from harness.collective.coordinator import Compressed
from harness.collective.implementation import load_implementation
from harness.sglang_plugin.policy import OWN, Choice, Policy

Simulated = Callable[[Tensor], Tensor]
SOME_WIDTH = 1 << 16
"""Wide enough for any column that a codec's name may spare."""
NATIVE = Choice(codec="upstream_bf16", algorithm="one_shot")
"""What SGLang's own code computes on an NPU."""


def codec_problems(*names: str | None, virtual: bool = False) -> list[str]:
    """Say of each codec, by name or as `module:function`, why it cannot be used; None is passed over.

    Args:
        names: The codecs.
        virtual: Whether they are for virtual ranks, which also know mechanisms that are no codecs of ours.
    """
    problems = []
    for name in names:
        if name is None:
            continue
        try:
            if virtual:
                find_candidate(name)
            elif ":" in name:
                load_implementation(name)
            else:
                get_codec(name)
        except Exception as error:  # noqa: BLE001 - whatever keeps the codec from loading would stop every call
            problems.append(f"the codec {name!r} cannot be used: {error}")
    return problems


def candidate_problems(candidates: Iterable[tuple[str, str, int]]) -> list[str]:
    """Say of each way of compressing in virtual ranks why it cannot be measured: over so many ranks, too.

    Args:
        candidates: Codec, algorithm and ranks.
    """
    problems = []
    for codec, algorithm, ranks in candidates:
        choice = Choice(codec=codec, algorithm=algorithm)
        try:
            if algorithm == OWN or ":" not in codec:
                wire_bytes((1, SOME_WIDTH), ranks, codec=codec, algorithm=algorithm)
            else:
                simulation(choice)
        except Exception as error:  # noqa: BLE001 - see above
            problems.append(f"{choice.label} at {ranks} ranks cannot be measured: {error}")
    return problems


def policy_problems(policy: Policy, *, on_npu: bool = False, virtual: bool = False) -> list[str]:
    """Say why a policy cannot be carried out.

    Args:
        policy: The policy.
        on_npu: Whether it is for SGLang's own compression on an NPU, which is what it is.
        virtual: Whether it is for virtual ranks.
    """
    choices = policy.choices()
    if on_npu:
        return [
            f"{choice.label}: on an NPU SGLang's own code compresses, which is {NATIVE.label}; a site can be plain"
            for choice in choices
            if choice != NATIVE
        ]
    names = dict.fromkeys(name for choice in choices for name in (choice.codec, choice.claims))
    problems = codec_problems(*names, virtual=virtual)
    if not virtual:
        problems += [
            f"{choice.label}: only virtual ranks compute this"
            for choice in choices
            if choice.algorithm == OWN or choice.rows
        ]
    return problems


def collective(choice: Choice) -> Compressed:
    """Return the compressed all-reduce of a choice, as f(x, group)."""
    if ":" in choice.codec:
        return load_implementation(choice.codec)
    return partial(quant_all_reduce, codec=choice.codec, algorithm=choice.algorithm)


def simulation(choice: Choice) -> Simulated:
    """Return what a choice makes of all ranks' tensors, as f(inputs `[N, T, H]`) -> `[T, H]`.

    For an implementation of somebody else's that real ranks call too: its attribute `simulate` where it has one, so
    that one name serves both; else the function itself.
    """
    if ":" in choice.codec and choice.algorithm != OWN:
        implementation: Any = load_implementation(choice.codec)
        simulated: Simulated = getattr(implementation, "simulate", implementation)
        return simulated
    return partial(simulate_all_reduce, codec=choice.codec, algorithm=choice.algorithm)
