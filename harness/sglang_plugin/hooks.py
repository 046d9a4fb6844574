"""The hooks themselves, registered with SGLang's own mechanism; no file of SGLang is patched."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import torch
from sglang.srt.plugins.hook_registry import HookRegistry, HookType
from sglang.srt.utils import is_npu
from sglang.version import __version__ as sglang_version

from harness.collective import quant_all_reduce, wire_bytes
from harness.collective.coordinator import Compressed
from harness.collective.implementation import load_implementation
from harness.sglang_plugin.capture import Capture
from harness.sglang_plugin.live_check import LiveCheck
from harness.sglang_plugin.recorder import Recorder

Hook = Callable[..., Any]
Sum = Callable[[torch.Tensor], torch.Tensor]

CHECK_SERVER_ARGS = "sglang.srt.server_args.ServerArgs.check_server_args"
FORWARD = "sglang.srt.model_executor.model_runner.ModelRunner.forward"
QUANT_ALL_REDUCE = "sglang.srt.distributed.parallel_state.GroupCoordinator.quant_all_reduce"
# SGLang's two entries to it. Attention's output is summed through the second, the FFN's through the first.
ENTRIES = {
    "sglang.srt.distributed.communication_op.tensor_model_parallel_quant_all_reduce": "ffn",
    "sglang.srt.distributed.communication_op.attention_tensor_model_parallel_quant_all_reduce": "attention",
}
FLAG = "enable_quant_communications"
# What SGLang's own code computes on an NPU.
NPU_CODEC, NPU_ALGORITHM = "upstream_bf16", "one_shot"


def register_hooks(
    directory: Path, *, codec: str, claims: str, algorithm: str, check_every: int, capture: Path | None
) -> None:
    """Register every hook of this process.

    Args:
        directory: Where each rank writes its logs.
        codec: What stands behind the flag off NPU: a codec of harness.collective, or `module:function`.
        claims: The codec whose bound and bytes hold for it.
        algorithm: Its algorithm, likewise.
        check_every: The live check's interval in calls; 0 for none.
        capture: Where one prefill's messages go, if anywhere.
    """
    on_npu = is_npu()
    if on_npu:
        claims, algorithm = NPU_CODEC, NPU_ALGORITHM
    plugin = Plugin(
        Recorder(directory),
        LiveCheck(directory, every=check_every, codec=claims, algorithm=algorithm),
        Capture(capture),
        codec=codec,
        claims=claims,
        algorithm=algorithm,
        on_npu=on_npu,
    )
    HookRegistry.register(FORWARD, plugin.forward, HookType.AROUND)
    for target, site in ENTRIES.items():
        HookRegistry.register(target, plugin.entry(site), HookType.AROUND)
    if plugin.on_npu:
        # What is tested there is SGLang's own code: count, and let it run.
        HookRegistry.register(QUANT_ALL_REDUCE, plugin.count_native, HookType.AROUND)
        plugin.watch_npu_kernel()
    else:
        HookRegistry.register(CHECK_SERVER_ARGS, allow_off_npu, HookType.AROUND)
        HookRegistry.register(QUANT_ALL_REDUCE, plugin.compress, HookType.REPLACE)


def allow_off_npu(original: Hook, server_args: Any) -> None:  # noqa: ANN401 - SGLang's ServerArgs
    """Run SGLang's check of its arguments with the flag hidden from the check that only knows NPUs.

    Raises:
        ValueError: As SGLang itself does, for the flag without tensor parallelism, and whatever else it finds.
    """
    asked = server_args.enable_quant_communications
    if asked and server_args.tp_size == 1:
        raise ValueError("Communications quantization is only used with tp_size != 1")
    # The record is sealed by its own setter once resolved; the Struct's setter is below that. What other code
    # reads afterwards is what the user asked for, unchanged.
    msgspec.Struct.__setattr__(server_args, FLAG, False)
    try:
        original(server_args)
    finally:
        msgspec.Struct.__setattr__(server_args, FLAG, asked)


class Plugin:
    """The state the hooks share within one process.

    Attributes:
        on_npu: Whether SGLang's own compression runs here, rather than harness.collective's.
    """

    def __init__(
        self,
        recorder: Recorder,
        check: LiveCheck,
        capture: Capture,
        *,
        codec: str,
        claims: str,
        algorithm: str,
        on_npu: bool,
    ) -> None:
        self.on_npu = on_npu
        self._recorder = recorder
        self._check = check
        self._capture = capture
        self._codec = codec
        self._claims = claims
        self._algorithm = algorithm
        self._site = "unknown"
        self._layers: Counter[str] = Counter()
        self._kernel_calls = 0

    def forward(self, original: Hook, runner: Any, forward_batch: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - SGLang's
        """Log one forward pass of the model; the first one starts the log."""
        if runner.is_draft_worker:
            return original(runner, forward_batch, *args, **kwargs)
        if not self._recorder.started:
            self._start(runner)
        tokens = forward_batch.input_ids.shape[0] if forward_batch.input_ids is not None else 0
        # A site's calls come in the order of the layers.
        self._layers.clear()
        with (
            self._recorder.forward(forward_batch.forward_mode.name, int(tokens)),
            self._check.forward(
                forward_batch.positions, compresses=not forward_batch.forward_mode.is_decode_or_idle()
            ),
            self._capture.forward(int(tokens)),
        ):
            return original(runner, forward_batch, *args, **kwargs)

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
        implementation = self._implementation()
        result = self._checked(group, input_, lambda x: implementation(x, group.device_group))
        if (result.shape, result.dtype) != (input_.shape, input_.dtype):
            raise TypeError(
                f"{self._codec} gave {result.dtype} {tuple(result.shape)} for {input_.dtype} {tuple(input_.shape)}"
            )
        self._count(group, input_, quantized=True)
        return result

    def count_native(self, original: Hook, group: Any, input_: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - GroupCoordinator
        """Count a call of SGLang's own `quant_all_reduce` and whether it reached the NPU's kernel."""
        if group.world_size == 1:
            return original(group, input_)  # type: ignore[no-any-return]
        before = self._kernel_calls
        result = self._checked(group, input_, partial(original, group))
        self._count(group, input_, quantized=self._kernel_calls > before)
        return result

    def _implementation(self) -> Compressed:
        if ":" in self._codec:
            return load_implementation(self._codec)
        return partial(quant_all_reduce, codec=self._codec, algorithm=self._algorithm)

    def _checked(self, group: Any, input_: torch.Tensor, call: Sum) -> torch.Tensor:  # noqa: ANN401 - GroupCoordinator
        layer = self._layers[self._site]
        self._layers[self._site] += 1
        self._capture.message(self._site, layer, group, input_)
        return self._check.around(self._site, layer, group, input_, call)

    def _count(self, group: Any, input_: torch.Tensor, *, quantized: bool) -> None:  # noqa: ANN401 - GroupCoordinator
        sent = wire_bytes(
            input_.shape, group.world_size, codec=self._claims, algorithm=self._algorithm, dtype=input_.dtype
        )
        self._recorder.count(
            self._site, quantized=quantized, elements=input_.numel(), wire_bytes=sent if quantized else 0
        )

    def watch_npu_kernel(self) -> None:
        """Count calls of `torch_npu.npu_dynamic_quant`, which SGLang imports anew in every call."""
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

    def _start(self, runner: Any) -> None:  # noqa: ANN401 - SGLang's ModelRunner
        args = runner.server_args
        rank = torch.distributed.get_rank()
        implementation = self._codec if ":" in self._codec else "harness.collective"
        self._recorder.start(
            rank,
            {
                "world_size": torch.distributed.get_world_size(),
                "tp_size": args.tp_size,
                "layers": runner.model_config.num_hidden_layers,
                "device": args.device,
                "flag": bool(args.enable_quant_communications),
                "implementation": "sglang" if self.on_npu else implementation,
                # On an NPU: the name of the operator that SGLang calls.
                "codec": "npu_dynamic_quant" if self.on_npu else self._claims,
                "algorithm": self._algorithm,
                "sglang": sglang_version,
                "torch": torch.__version__,
            },
        )
        self._check.start(rank)
