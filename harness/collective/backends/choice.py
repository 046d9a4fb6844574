"""Which backend serves a tensor."""

from torch import Tensor

from harness.collective.backends.base import Backend, MissingBackendError
from harness.collective.backends.cuda import Cuda
from harness.collective.backends.eager import Eager
from harness.collective.backends.npu import Npu
from harness.collective.backends.tiled import Tiled

_BACKENDS: dict[str, Backend] = {backend.name: backend for backend in (Eager(), Tiled(), Cuda(), Npu())}

_BY_DEVICE = {"cpu": "tiled", "cuda": "cuda", "npu": "npu"}


def choose_backend(x: Tensor, name: str | None = None) -> Backend:
    """The backend called ``name``, or the one for ``x``'s device.

    Raises:
        MissingBackendError: There is none: nothing else is tried in its place.
    """
    wanted = name or _BY_DEVICE.get(x.device.type)
    if wanted is None:
        raise MissingBackendError(
            f"no backend serves {x.device.type!r} tensors (there is one for: {', '.join(_BY_DEVICE)}); "
            "name one with backend=... if its operations exist on this device",
        )
    if wanted not in _BACKENDS:
        raise MissingBackendError(f"no backend is named {wanted!r}; there are: {', '.join(_BACKENDS)}")
    return _BACKENDS[wanted]
