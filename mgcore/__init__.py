"""Multiresolution methods for convolutional neural networks: the numerics.

Restriction and prolongation, the Galerkin condition on convolution stencils, the small network on
which E. S. Crafts's thesis (Emory, 2019) tried them, and the same for any other network.  The
studies are in :mod:`mgcore.lab`, which this package never imports.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mgcore.grids import prolong, restrict
    from mgcore.refinement.module import coarsen, refine
    from mgcore.thesis.network import ThesisCNN
    from mgcore.train.resolution_ladder import coarse_to_fine

__version__ = "0.1.0"
__all__ = ["ThesisCNN", "coarse_to_fine", "coarsen", "prolong", "refine", "restrict"]

# Imported on first use: ``mgcore --help`` answers without loading torch, which takes seconds.
_MODULES = {
    "ThesisCNN": "thesis.network",
    "coarse_to_fine": "train.resolution_ladder",
    "coarsen": "refinement.module",
    "prolong": "grids",
    "refine": "refinement.module",
    "restrict": "grids",
}
_SUBPACKAGES = (
    "analysis", "data", "grids", "kernels", "multigrid", "operators", "optimize", "refinement",
    "thesis", "train",
)  # fmt: skip

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        if name in _SUBPACKAGES:
            return import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *_MODULES, *_SUBPACKAGES})
