"""Asks an installed SGLang what a plan needs to know, before any server starts. Run by the server's interpreter.

    python -m harness.sglang_plugin.probe  < REQUEST.json  > ANSWER.json

Imports the standard library, SGLang, the collective and torch only.
"""

import argparse
import hashlib
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distributions, entry_points, version
from pathlib import Path
from typing import Any, NoReturn

from harness.sglang_plugin import asked_before
from harness.sglang_plugin.accelerators import cann_version, gpu_problems, npu_problems
from harness.sglang_plugin.on_stdin import reply
from harness.sglang_plugin.releases import OLDEST, argument_names, chosen, spelled

PLUGIN_GROUP = "sglang.srt.plugins"
PLUGIN = "tp_compression_harness"
NAMED_PACKAGES = frozenset({"torch", "torch-npu", "transformers", "triton", "sgl-kernel", "flashinfer-python"})
# Settings under which KV is kept elsewhere.
STORES = ("enable_hierarchical_cache", "enable_lmcache", "hicache_storage_backend", "radix_cache_backend")
# Settings that share the work otherwise than by tensor parallelism alone: the values that do not, and why not.
SPLITS: dict[str, tuple[tuple[object, ...], str]] = {
    "enable_dp_attention": (
        (),
        "data-parallel attention gives groups of ranks different tokens, and the proof wants the same of all ranks",
    ),
    "dp_size": ((1,), "several copies of the model would write their ranks' logs over each other"),
    "pp_size": ((1,), "a pipeline's rank has a part of the layers; the proof wants each layer of every rank"),
    "nnodes": ((1,), "the logs of ranks on another host cannot be read"),
    "attn_cp_size": ((1,), "context parallelism gives each rank other tokens; the proof wants the same of all"),
    "moe_a2a_backend": (
        ("none",),
        "all-to-all between experts scatters attention's output too, where the flag is not asked",
    ),
    "enable_two_batch_overlap": (
        (),
        "two halves of a batch run in turns, so that a layer's sums cannot be told apart",
    ),
}


class _Parser(argparse.ArgumentParser):
    """A parser that raises instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Answer a request.

    Args:
        request: `arms`, the `sglang serve` arguments of each arm by name; `codecs`, every codec's name, or an
            implementation's, `module:function`; `candidates`, what virtual ranks are to compute, each a codec, an
            algorithm and a number of ranks; `gpus`, where the servers run on NVIDIA GPUs, how many `ranks` each has
            and how many `servers` are up at once; `npus`, the same of NPUs; `kept`, a folder of earlier answers.

    Returns:
        `sglang`, its version; `settings`, the names of all its server arguments; `spelled`, those of the arguments
        that it has under another name, with that name; `packages`, what is installed beside it, in one line;
        `every_package`, that one by one: name and version; `plugin`, the hash of the plugin that it would load;
        `problems`, sentences, empty where the plan can run.
    """
    found: dict[str, Any] = {
        "sglang": "",
        "settings": [],
        "spelled": {},
        "packages": "",
        "every_package": {},
        "plugin": "",
        "problems": [],
    }
    problems: list[str] = found["problems"]
    try:
        found["sglang"] = version("sglang")
    except PackageNotFoundError:
        problems.append(f"SGLang is not installed for {sys.executable}")
        return found
    packages = _packages()
    found |= {"packages": _in_a_line(packages), "every_package": packages, "plugin": _plugin()}
    # Before SGLang, which may not even be importable without its GPUs.
    if gpus := request.get("gpus"):
        problems += gpu_problems(gpus["ranks"], gpus["servers"])
    if npus := request.get("npus"):
        problems += npu_problems(npus["ranks"], npus["servers"], next(iter(request["arms"].values()), []))
        found["packages"] += f"; CANN {cann_version() or 'unknown'}"
    codecs: list[str] = request["codecs"]
    # Somebody's own code, which may be another by now, is looked at each time.
    kept = None if any(":" in name for name in codecs) else request.get("kept")
    asked = [codecs, request["candidates"], request["arms"], found["packages"], packages, found["plugin"]]
    place = asked_before.place_of(kept, *asked)
    if (before := asked_before.recall(place)) is not None:
        return found | before
    _ask_sglang(request, found)
    if not problems:
        asked_before.keep(place, {name: found[name] for name in ("settings", "spelled")})
    return found


def _ask_sglang(request: dict[str, Any], found: dict[str, Any]) -> None:
    """Import SGLang, and add to `found` what it says of the arms' arguments and what is wrong."""
    sglang, problems = found["sglang"], found["problems"]
    try:
        import_module("sglang.srt.plugins.hook_registry")
    except ImportError as error:
        problems.append(
            f"SGLang {sglang} has no plugin mechanism (sglang.srt.plugins: {error}), so nothing could prove that "
            f"compression ran: use {OLDEST} or a later release"
        )
    except Exception as error:  # noqa: BLE001 - an import of SGLang can fail in any way
        problems.append(_not_importable(sglang, error))
        return
    if not any(entry.name == PLUGIN for entry in entry_points(group=PLUGIN_GROUP)):
        problems.append(f"the plugin {PLUGIN} is not visible to {sys.executable}: its folder is not on PYTHONPATH")
    problems += _codec_problems(request["codecs"], request["candidates"])
    try:
        server_args = import_module("sglang.srt.server_args").ServerArgs
    except Exception as error:  # noqa: BLE001 - see above
        problems.append(_not_importable(sglang, error))
        return
    # A name's beginning could stand for an argument that the harness sets.
    parser = _Parser(prog="sglang serve", add_help=False, allow_abbrev=False)
    server_args.add_cli_args(parser)
    for arguments in request["arms"].values():
        found["spelled"] |= spelled(parser, arguments)
    problems += _argument_problems(parser, sglang, request["arms"], found["spelled"])
    found["settings"] = argument_names(server_args)


def _not_importable(sglang: str, error: Exception) -> str:
    return f"SGLang {sglang} cannot be imported: {error!r}"


def _codec_problems(names: list[str], candidates: list[tuple[str, str, int]]) -> list[str]:
    try:
        codecs = import_module("harness.sglang_plugin.codecs")
        return [*codecs.codec_problems(*names), *codecs.candidate_problems(candidates)]
    except Exception as error:  # noqa: BLE001 - an import of torch can fail in any way
        named = dict.fromkeys([*names, *(codec for codec, *_ in candidates)])
        return [f"the codec {name!r} cannot be used: {error}" for name in named]


def _packages() -> dict[str, str]:
    """Return the version of every package by its name."""
    # What is imported of a package that stands on the path twice is the first.
    first: dict[str, str] = {}
    for package in distributions():
        first.setdefault(str(package.metadata["Name"]), package.version)
    return first


def _in_a_line(packages: dict[str, str]) -> str:
    """Name the packages that a server's numbers depend on most, and hash all of them with their versions."""
    found = {f"{name} {its_version}" for name, its_version in packages.items()}
    named = sorted(entry for entry in found if entry.split()[0].lower().replace("_", "-") in NAMED_PACKAGES)
    digest = hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()
    return f"{', '.join(named)}; all {len(found)}: {digest[:16]}"


def _plugin() -> str:
    """Hash the plugin's and the collective's code."""
    root = Path(__file__).resolve().parents[1]
    files = sorted(file for folder in ("sglang_plugin", "collective") for file in (root / folder).rglob("*.py"))
    lines = [f"{file.relative_to(root)} {hashlib.sha256(file.read_bytes()).hexdigest()}" for file in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _argument_problems(
    parser: argparse.ArgumentParser, sglang: str, arms: dict[str, list[str]], spelling: dict[str, str]
) -> list[str]:
    problems = []
    for name, arguments in arms.items():
        try:
            told = chosen(parser.parse_args([spelling.get(argument, argument) for argument in arguments]))
        except ValueError as error:
            problems.append(f"SGLang {sglang} refuses the {name} arm's arguments: {error}")
        else:
            # What is wrong with one arm is wrong with all, which differ in the flag.
            found = [*_unseen_sums(told), *_untold_prefills(told), *_split_otherwise(told)]
            problems += [problem for problem in found if problem not in problems]
    return problems


def _untold_prefills(told: dict[str, Any]) -> list[str]:
    """Name the arguments with which answers rest on other prefills than those that this server's ranks log."""
    problems = [
        f"--{name.replace('_', '-')} keeps KV beyond the server's own memory, under keys that know nothing of the "
        "flag: one arm could answer with what the other computed; leave it out of the suite's server.args"
        for name in STORES
        if told.get(name)
    ]
    if told.get("enable_mixed_chunk"):
        problems.append(
            "--enable-mixed-chunk puts decoded tokens into prefills, where they are compressed too and cannot be "
            "told from prompts: leave it out of the suite's server.args"
        )
    if told.get("disaggregation_mode") not in (None, "null"):
        problems.append(
            "--disaggregation-mode has another server prefill, whose ranks nobody sees: leave it out of the suite's "
            "server.args"
        )
    return problems


def _split_otherwise(told: dict[str, Any]) -> list[str]:
    """Name the arguments with which ranks share the work in another way than the proof of compression knows."""
    return [
        f"--{name.replace('_', '-')}: {why}: leave it out of the suite's server.args"
        for name, (absent, why) in SPLITS.items()
        if told.get(name) not in (None, False, *absent)
    ]


def _unseen_sums(told: dict[str, Any]) -> list[str]:
    """Name the arguments with which sums of a prefill on NVIDIA GPUs would pass the plugin by, or the flag."""
    if told.get("device") != "cuda":
        return []
    problems = []
    if told.get("disable_piecewise_cuda_graph") is False and "cuda_graph_backend_prefill" not in told:
        # Up to 0.5.13.
        problems.append(
            "prefills would be replayed from CUDA graphs, in which nothing counts or checks a compressed sum: "
            "give the suite's server.args --disable-piecewise-cuda-graph"
        )
    if "cuda_graph_backend_prefill" in told:
        in_json = (told.get("cuda_graph_config") or {}).get("prefill", {}).get("backend")
        backend = in_json or told["cuda_graph_backend_prefill"]
        if backend != "disabled" and (backend or not told.get("disable_prefill_cuda_graph")):
            problems.append(
                "prefills would be replayed from CUDA graphs, in which nothing counts or checks a compressed sum: "
                "give the suite's server.args --cuda-graph-backend-prefill=disabled"
            )
    if told.get("enforce_disable_flashinfer_allreduce_fusion") is False:
        problems.append(
            "FlashInfer may fuse attention's sum with what follows, whatever the flag says: give the suite's "
            "server.args --enforce-disable-flashinfer-allreduce-fusion"
        )
    return problems


if __name__ == "__main__":
    reply(answer)
