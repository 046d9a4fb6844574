"""The hooks themselves, registered with SGLang's own mechanism; no file of SGLang is patched."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import torch
from sglang.srt.plugins.hook_registry import HookRegistry, HookType
from sglang.srt.utils import is_npu
from sglang.version import __version__ as sglang_version

from harness.collective import quant_all_reduce, wire_bytes
from harness.sglang_plugin.recorder import Recorder

Hook = Callable[..., Any]

CHECK_SERVER_ARGS = "sglang.srt.server_args.ServerArgs.check_server_args"
FORWARD = "sglang.srt.model_executor.model_runner.ModelRunner.forward"
QUANT_ALL_REDUCE = "sglang.srt.distributed.parallel_state.GroupCoordinator.quant_all_reduce"
# SGLang's two entries to it. Attention's output is summed through the second, the FFN's through the first.
ENTRIES = {
    "sglang.srt.distributed.communication_op.tensor_model_parallel_quant_all_reduce": "ffn",
    "sglang.srt.distributed.communication_op.attention_tensor_model_parallel_quant_all_reduce": "attention",
}
FLAG = "enable_quant_communications"


def register_hooks(directory: Path, *, codec: str, algorithm: str) -> None:
    """Register every hook of this process.

    Args:
        directory: Where each rank writes its log.
        codec: Codec of harness.collective that stands behind the flag off NPU.
        algorithm: Its algorithm, likewise.
    """
    plugin = Plugin(Recorder(directory), codec=codec, algorithm=algorithm, on_npu=is_npu())
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

    def __init__(self, recorder: Recorder, *, codec: str, algorithm: str, on_npu: bool) -> None:
        self.on_npu = on_npu
        self._recorder = recorder
        self._codec = codec
        self._algorithm = algorithm
        self._site = "unknown"
        self._kernel_calls = 0

    def forward(self, original: Hook, runner: Any, forward_batch: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - SGLang's
        """Log one forward pass of the model; the first one starts the log."""
        if runner.is_draft_worker:
            return original(runner, forward_batch, *args, **kwargs)
        if not self._recorder.started:
            self._start(runner)
        tokens = forward_batch.input_ids.shape[0] if forward_batch.input_ids is not None else 0
        with self._recorder.forward(forward_batch.forward_mode.name, int(tokens)):
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
        result = quant_all_reduce(input_, group.device_group, codec=self._codec, algorithm=self._algorithm)
        self._recorder.count(
            self._site,
            quantized=True,
            elements=input_.numel(),
            wire_bytes=wire_bytes(
                input_.shape,
                group.world_size,
                codec=self._codec,
                algorithm=self._algorithm,
                dtype=input_.dtype,
            ),
        )
        return result

    def count_native(self, original: Hook, group: Any, input_: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - GroupCoordinator
        """Count a call of SGLang's own `quant_all_reduce` and whether it reached the NPU's kernel."""
        before = self._kernel_calls
        result: torch.Tensor = original(group, input_)
        if group.world_size > 1:
            quantized = self._kernel_calls > before
            # SGLang gathers INT8 values and one fp32 scale a row: what int8_token sends.
            sent = wire_bytes(input_.shape, group.world_size, codec="int8_token", dtype=input_.dtype)
            self._recorder.count(
                self._site,
                quantized=quantized,
                elements=input_.numel(),
                wire_bytes=sent if quantized else 0,
            )
        return result

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
        self._recorder.start(
            torch.distributed.get_rank(),
            {
                "world_size": torch.distributed.get_world_size(),
                "tp_size": args.tp_size,
                "layers": runner.model_config.num_hidden_layers,
                "device": args.device,
                "flag": bool(args.enable_quant_communications),
                "implementation": "sglang" if self.on_npu else "harness.collective",
                "codec": "npu_dynamic_quant" if self.on_npu else self._codec,
                "algorithm": "one_shot" if self.on_npu else self._algorithm,
                "sglang": sglang_version,
                "torch": torch.__version__,
            },
        )
