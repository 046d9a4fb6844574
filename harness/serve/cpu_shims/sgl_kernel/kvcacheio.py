"""SGLang 0.5.11 imports names from it without being asked to cache anything elsewhere: see the package."""

from sgl_kernel import __getattr__ as __getattr__  # noqa: PLC0414 - this is how a module hands it on
