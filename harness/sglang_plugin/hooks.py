"""The hooks themselves, registered with SGLang's own mechanism; no file of SGLang is patched."""

import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import torch
from sglang.srt.plugins.hook_registry import HookRegistry, HookType
from sglang.srt.utils import is_cpu, is_npu
from sglang.version import __version__ as sglang_version

from harness.collective import ring_bytes, wire_bytes
from harness.collective.gloo_threads import loops_give_way
from harness.sglang_plugin.capture import Capture
from harness.sglang_plugin.chosen_rows import chosen, sum_chosen
from harness.sglang_plugin.codecs import NATIVE, collective, policy_problems, simulation
from harness.sglang_plugin.cpu_attention import register_cpu_attention
from harness.sglang_plugin.forked_ranks import register_forked_ranks
from harness.sglang_plugin.live_check import LiveCheck
from harness.sglang_plugin.one_gpu import check_with_a_step, register_one_gpu
from harness.sglang_plugin.plain_sum import plain_sum
from harness.sglang_plugin.policy import Choice, uniform
from harness.sglang_plugin.predictions import Predictions
from harness.sglang_plugin.recorder import Recorder
from harness.sglang_plugin.releases import KERNEL_HOLDER, set_argument
from harness.sglang_plugin.settings import Settings
from harness.sglang_plugin.study_folder import PolicyFile
from harness.sglang_plugin.virtual_ranks import cut

Hook = Callable[..., Any]
ChosenSum = Callable[[Choice, torch.Tensor], torch.Tensor]

CHECK_SERVER_ARGS = "sglang.srt.server_args.ServerArgs.check_server_args"
FORWARD = "sglang.srt.model_executor.model_runner.ModelRunner.forward"
LOAD_MODEL = "sglang.srt.model_executor.model_runner.ModelRunner.load_model"
LOGITS = "sglang.srt.layers.logits_processor.LogitsProcessor.forward"
QUANT_ALL_REDUCE = "sglang.srt.distributed.parallel_state.GroupCoordinator.quant_all_reduce"
# SGLang's two entries to it. Attention's output is summed through the second, the FFN's through the first.
ENTRIES = {
    "sglang.srt.distributed.communication_op.tensor_model_parallel_quant_all_reduce": "ffn",
    "sglang.srt.distributed.communication_op.attention_tensor_model_parallel_quant_all_reduce": "attention",
}
FLAG = "enable_quant_communications"


def register_hooks(settings: Settings) -> None:
    """Register every hook of this process.

    Raises:
        PolicyError: What the settings say cannot be carried out.
    """
    plugin = Plugin(settings, on_npu=is_npu())
    HookRegistry.register(FORWARD, plugin.forward, HookType.AROUND)
    HookRegistry.register(LOGITS, plugin.predictions.hook, HookType.AROUND)
    if is_cpu():
        register_forked_ranks(settings)
        register_cpu_attention()
    if settings.virtual_ranks:
        HookRegistry.register(LOAD_MODEL, plugin.load_model, HookType.AROUND)
        return
    for target, site in ENTRIES.items():
        HookRegistry.register(target, plugin.entry(site), HookType.AROUND)
    if plugin.on_npu:
        # What is tested there is SGLang's own code: count, and let it run.
        HookRegistry.register(QUANT_ALL_REDUCE, plugin.count_native, HookType.AROUND)
        plugin.watch_npu_kernel()
    else:
        check = partial(allow_off_npu, one_gpu=settings.one_gpu)
        HookRegistry.register(CHECK_SERVER_ARGS, check, HookType.AROUND)
        if settings.one_gpu:
            register_one_gpu()
        HookRegistry.register(QUANT_ALL_REDUCE, plugin.compress, HookType.REPLACE)


def allow_off_npu(original: Hook, server_args: Any, *, one_gpu: bool = False) -> None:  # noqa: ANN401 - SGLang's ServerArgs
    """Run SGLang's check of its arguments with the flag hidden from the check that only knows NPUs.

    Raises:
        ValueError: As SGLang itself does, for the flag without tensor parallelism, and whatever else it finds.
    """
    asked = server_args.enable_quant_communications
    if asked and server_args.tp_size == 1:
        raise ValueError("Communications quantization is only used with tp_size != 1")
    # What other code reads afterwards is what the user asked for, unchanged.
    set_argument(server_args, FLAG, value=False)
    try:
        if one_gpu:
            check_with_a_step(original, server_args)
        else:
            original(server_args)
    finally:
        set_argument(server_args, FLAG, asked)


class Plugin:
    """The state the hooks share within one process.

    Attributes:
        on_npu: Whether SGLang's own compression runs here, rather than harness.collective's.
        predictions: The comparison of predictions.
    """

    def __init__(self, settings: Settings, *, on_npu: bool) -> None:
        # Virtual ranks are harness.collective's wherever they run.
        self.on_npu = on_npu and not settings.virtual_ranks
        study = settings.study or settings.dir
        self._policies = PolicyFile(
            study,
            uniform(NATIVE) if self.on_npu else settings.policy(),
            partial(policy_problems, on_npu=self.on_npu, virtual=bool(settings.virtual_ranks)),
        )
        self._settings = settings
        self._recorder = Recorder(settings.dir)
        self._check = LiveCheck(settings.dir, every=settings.check_every)
        self._capture = Capture(settings.capture)
        self.predictions = Predictions(settings, study)
        self.predictions.under(self._policies.policy)
        self._may_compress = False
        # Virtual ranks stand for a deployment, which sends 16 bits an element, whatever they are computed in.
        self._wire_dtype = torch.bfloat16 if settings.virtual_ranks else None
        self._site = "unknown"
        self._positions = torch.empty(0)
        self._layers: Counter[str] = Counter()
        self._kernel_calls = 0

    def forward(self, original: Hook, runner: Any, forward_batch: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - SGLang's
        """Log one forward pass of the model; the first one starts the log."""
        if runner.is_draft_worker:
            return original(runner, forward_batch, *args, **kwargs)
        if not self._recorder.started:
            self._start(runner)
        mode = forward_batch.forward_mode
        tokens = int(forward_batch.input_ids.shape[0]) if forward_batch.input_ids is not None else 0
        self._may_compress = not mode.is_decode_or_idle()
        if self._may_compress and self._policies.refresh():
            self._check.another_policy()
            self.predictions.under(self._policies.policy)
        self._positions = forward_batch.positions
        # A site's calls come in the order of the layers.
        self._layers.clear()
        with (
            self._recorder.forward(mode.name, tokens, policy=self._policies.policy.number),
            self._check.forward(forward_batch.positions, compresses=self._may_compress),
            self._capture.forward(tokens),
        ):
            return original(runner, forward_batch, *args, **kwargs)

    def load_model(self, original: Hook, runner: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - SGLang's
        """Cut the model that is loaded into virtual ranks."""
        result = original(runner, *args, **kwargs)
        if not runner.is_draft_worker:
            cut(runner, self._settings.virtual_ranks, self.virtual_sum)
        return result

    def virtual_sum(self, site: str, layer: int, parts: torch.Tensor) -> torch.Tensor:
        """Sum virtual ranks' parts `[N, T, H]`: plainly, but in prefill as the policy says."""
        if not self._may_compress:
            return plain_sum(parts)
        choice = self._policies.policy.choice(site, layer)
        if choice is None:
            self._count_plain(site, layer, parts[0], len(parts))
            return plain_sum(parts)
        if choice.rows:
            which = chosen(choice.rows, parts, self._positions)
            result = sum_chosen(plain_sum(parts), which, parts, simulation(choice))
        else:
            result = _like(parts[0], simulation(choice)(parts), choice)
        self._count(site, layer, parts[0], len(parts), choice, quantized=True)
        return result

    def entry(self, site: str) -> Hook:
        """Return a hook that notes which of SGLang's entries the call came through."""

        def note_site(original: Hook, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - SGLang's
            self._site = site
            try:
                return original(*args, **kwargs)
            finally:
                self._site = "unknown"

        return note_site

    def compress(self, group: Any, input_: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - GroupCoordinator
        """Stand in for `GroupCoordinator.quant_all_reduce`: the bundled collective over the group's backend.

        Args:
            group: SGLang's GroupCoordinator.
            input_: This rank's partial sum, shape (tokens, hidden), any floating dtype; left untouched.

        Returns:
            The sum over ranks, of the input's shape and dtype.
        """
        if group.world_size == 1:
            return input_

        def compressed(choice: Choice, x: torch.Tensor) -> torch.Tensor:
            return _like(x, collective(choice)(x, group.device_group), choice)

        return self._sum(group, input_, compressed, lambda: True)

    def count_native(self, original: Hook, group: Any, input_: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - GroupCoordinator
        """Count a call of SGLang's own `quant_all_reduce` and whether it reached the NPU's kernel."""
        if group.world_size == 1:
            return original(group, input_)  # type: ignore[no-any-return]
        before = self._kernel_calls
        return self._sum(group, input_, lambda _choice, x: original(group, x), lambda: self._kernel_calls > before)

    def _sum(self, group: Any, x: torch.Tensor, call: ChosenSum, quantized: Callable[[], bool]) -> torch.Tensor:  # noqa: ANN401 - GroupCoordinator
        """Sum over a group of real ranks as the policy says."""
        site, layer = self._site, self._layers[self._site]
        self._layers[site] += 1
        self._capture.message(site, layer, group, x)
        choice = self._policies.policy.choice(site, layer)
        if choice is None:
            self._count_plain(site, layer, x, group.world_size)
            return group.all_reduce(x)  # type: ignore[no-any-return]
        result = self._check.around(site, layer, group, x, partial(call, choice), choice=choice)
        self._count(site, layer, x, group.world_size, choice, quantized=quantized())
        return result

    def _count(self, site: str, layer: int, x: torch.Tensor, ranks: int, choice: Choice, *, quantized: bool) -> None:
        dtype = self._wire_dtype or x.dtype
        sent = wire_bytes(x.shape, ranks, codec=choice.claimed, algorithm=choice.algorithm, dtype=dtype)
        self._recorder.count(
            site,
            layer=layer,
            how=choice.label,
            quantized=quantized,
            elements=x.numel(),
            wire_bytes=sent if quantized else 0,
        )

    def _count_plain(self, site: str, layer: int, x: torch.Tensor, ranks: int) -> None:
        self._recorder.count_plain(
            site, layer=layer, ring_bytes=round(ring_bytes(x.shape, ranks, self._wire_dtype or x.dtype))
        )

    def watch_npu_kernel(self) -> None:
        """Count calls of `torch_npu.npu_dynamic_quant`, from wherever this release calls it."""
        try:
            torch_npu = import_module("torch_npu")
            kernel = torch_npu.npu_dynamic_quant
        except (ImportError, AttributeError):
            # SGLang will now fall back to a plain all-reduce in silence. Every call is logged as not
            # quantized, and the harness turns that into an ERROR.
            return

        def counted(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - torch_npu's
            self._kernel_calls += 1
            return kernel(*args, **kwargs)

        torch_npu.npu_dynamic_quant = counted  # type: ignore[attr-defined]
        if hasattr(holder := sys.modules.get(KERNEL_HOLDER), "npu_dynamic_quant"):
            holder.npu_dynamic_quant = counted  # type: ignore[union-attr]

    def _start(self, runner: Any) -> None:  # noqa: ANN401 - SGLang's ModelRunner
        args, settings = runner.server_args, self._settings
        rank = torch.distributed.get_rank()
        implementation = settings.codec if ":" in settings.codec else "harness.collective"
        algorithm = NATIVE.algorithm if self.on_npu else settings.algorithm
        self._recorder.start(
            rank,
            {
                "world_size": torch.distributed.get_world_size(),
                "virtual_ranks": settings.virtual_ranks,
                "tp_size": args.tp_size,
                "layers": runner.model_config.num_hidden_layers,
                "hidden": runner.model_config.hidden_size,
                "device": args.device,
                "flag": bool(args.enable_quant_communications),
                "implementation": "sglang" if self.on_npu else implementation,
                # On an NPU: the name of the operator that SGLang calls.
                "codec": "npu_dynamic_quant" if self.on_npu else settings.claimed,
                "algorithm": algorithm,
                "sglang": sglang_version,
                "torch": torch.__version__,
            },
        )
        self._check.start(rank, codec=NATIVE.codec if self.on_npu else settings.claimed, algorithm=algorithm)
        self.predictions.start(rank)
        if is_cpu():
            loops_give_way()


def _like(x: torch.Tensor, result: torch.Tensor, choice: Choice) -> torch.Tensor:
    if (result.shape, result.dtype) != (x.shape, x.dtype):
        raise TypeError(f"{choice.codec} gave {result.dtype} {tuple(result.shape)} for {x.dtype} {tuple(x.shape)}")
    return result
