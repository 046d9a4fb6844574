"""Lets `import torchvision` work beside a CPU build of torch; put on PYTHONPATH for the CPU server alone.

torchvision's Linux wheel is a CUDA build. Beside a CPU torch its operators do not load, and the import
dies while it registers fake versions of two of them. Declaring their schemas first is enough: SGLang
needs only torchvision's pure-Python transforms.

And it has garbage looked for less often: SGLang's import makes millions of objects, of which none is garbage.
"""

import gc
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

# A library's definitions live as long as its object does.
_kept: list[object] = []


class _DeclareOperatorsFirst(MetaPathFinder):
    """Declares torchvision's two schemas when torchvision is first imported, then steps aside.

    It waits for that import so that the many small Python processes of a server which never touch
    torchvision do not pay for importing torch.
    """

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002 - the protocol's signature
        """Find nothing; declare the schemas on the way."""
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            import torch  # noqa: PLC0415 - only when torchvision is wanted

            # Beside a CUDA torch the real operators load, and a second definition would fail.
            if torch.version.cuda is None:
                library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
                for schema in _SCHEMAS:
                    library.define(schema)  # type: ignore[no-untyped-call]
                _kept.append(library)
        return None


sys.meta_path.insert(0, _DeclareOperatorsFirst())
# As it is, a fifth of the import's time goes into it.
gc.set_threshold(50_000, 20, 100)
