"""Sums a sample of the compressed calls exactly, beside what was served, and writes down how far they lie apart.

The served result is not touched. Every rank samples the same calls, since the check itself communicates: all
calls of the first pass that compresses (no prompt can be cached before it, so that it has a token 0), of the first
one under another policy, and otherwise every `every`-th call of the process. A line of live-rank-N.jsonl is a pass
with checked calls, each with the codec and algorithm that it is held to; it is judged in harness.judge.live_check.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.collective import get_codec
from harness.collective.algorithms.exchange import everyones
from harness.collective.clock import device_seconds
from harness.sglang_plugin.measure import CheckedCall
from harness.sglang_plugin.policy import Choice
from harness.sglang_plugin.recorder import Log

BLOCK_ELEMENTS = 2**18
"""Elements of all ranks' messages that are measured at once: some ten temporaries of 8 bytes each."""


class LiveCheck:
    """The check of one rank. With `every` 0 it does nothing.

    A call is checked inside a forward pass only: what is compressed outside of one is an error anyway.
    """

    def __init__(self, directory: Path, *, every: int) -> None:
        self._directory = directory
        self._every = every
        self._log: Log | None = None
        self._calls = 0
        self._passes = 0
        self._pass_seconds = 0.0
        self._check_seconds = 0.0
        self._inside = False
        self._token0: Tensor | None = None
        self._samples: list[dict[str, object]] = []

    def start(self, rank: int, *, codec: str, algorithm: str) -> None:
        """Open this rank's log; its first line names the codec and algorithm of the settings.

        Raises:
            OSError: It cannot be written.
        """
        if self._every:
            self._log = Log(self._directory / f"live-rank-{rank}.jsonl")
            self._log.write({"rank": rank, "every": self._every, "codec": codec, "algorithm": algorithm})

    def another_policy(self) -> None:
        """Check all calls of the next pass that compresses: they are made in another way than those before."""
        self._passes = 0

    @contextmanager
    def forward(self, positions: Tensor | None, *, compresses: bool = True) -> Iterator[None]:
        """Check what is compressed inside as one forward pass.

        Args:
            positions: Each row's position in its sequence, `[T]`; None where SGLang gives none.
            compresses: Whether sums are compressed in passes of this kind, where the flag is on. Such a pass is
                timed, which makes the host wait for the device at both of its ends; others are left alone.
        """
        if not self._every:
            yield
            return
        self._inside, self._token0 = True, None if positions is None else positions == 0
        device = torch.device("cpu") if positions is None or not compresses else positions.device
        calls, started = self._calls, device_seconds(device)
        try:
            yield
        finally:
            self._inside, self._token0 = False, None
            if self._calls > calls:
                self._passes += 1
                self._pass_seconds += device_seconds(device) - started
            self._flush()

    def around(
        self,
        site: str,
        layer: int,
        group: Any,  # noqa: ANN401 - GroupCoordinator
        x: Tensor,
        call: Callable[[Tensor], Tensor],
        *,
        choice: Choice,
    ) -> Tensor:
        """Return `call(x)`, checked if this call's turn has come.

        Args:
            site: Where the model sums: `attention` or `ffn`.
            layer: The layer's number.
            group: SGLang's GroupCoordinator.
            x: This rank's message, `[T, H]`.
            call: The compressed all-reduce; it may write to `x`.
            choice: What it claims to be.
        """
        due = self._inside and self._every and (self._passes == 0 or self._calls % self._every == 0)
        number = self._calls
        self._calls += self._inside
        if not due:
            return call(x)
        message = x.clone(memory_format=torch.contiguous_format)
        served = call(x)
        # From here on what the device does is the check's own.
        started = device_seconds(x.device)
        sample = self._measure(group, message, served, choice)
        self._check_seconds += device_seconds(x.device) - started
        what = {"codec": choice.claimed, "algorithm": choice.algorithm}
        self._samples.append({"call": number, "site": site, "layer": layer, **what, **sample.line()})
        return served

    def _measure(self, group: Any, message: Tensor, served: Tensor, choice: Choice) -> CheckedCall:  # noqa: ANN401 - GroupCoordinator
        message, served = (tensor.detach().reshape(-1, tensor.shape[-1]) for tensor in (message, served))
        token0 = self._token0
        if token0 is None or len(token0) != len(message):
            token0 = torch.zeros(len(message), dtype=torch.bool, device=message.device)
        codec, sample = get_codec(choice.claimed), CheckedCall()
        # Which rows a codec spares is told from the whole message.
        fitting = BLOCK_ELEMENTS // (message.shape[-1] * group.world_size)
        rows = max(1, len(message) if codec.spared_rows else fitting)
        rank = torch.distributed.get_rank(group.device_group)
        for row in range(0, len(message), rows):
            block = torch.stack((message[row : row + rows], served[row : row + rows]))
            gathered = everyones(block, group.device_group)
            # NPUs compute no fp64.
            where = gathered.device if gathered.device.type == "cuda" else torch.device("cpu")
            gathered = gathered.to(where)
            sample.add(
                gathered[:, 0],
                gathered[:, 1],
                rank=rank,
                token0=token0[row : row + rows].to(where),
                codec=codec,
                algorithm=choice.algorithm,
                row=row,
            )
        return sample

    def _flush(self) -> None:
        if self._log is not None and self._samples:
            self._log.write(
                {
                    "calls": self._calls,
                    "pass_seconds": self._pass_seconds,
                    "check_seconds": self._check_seconds,
                    "samples": self._samples,
                }
            )
        self._samples = []
