"""Multigrid transfer of convolutional neural networks between image resolutions.

Restriction and prolongation, the Galerkin condition on convolution kernels, the small network of
E. S. Crafts's thesis (Emory, 2019), and the same method for any other network.  The studies that
repeat the thesis are in :mod:`mgcore.lab`, which the rest of this package never imports.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mgcore.grids import prolong, restrict
    from mgcore.kernels import coarsen_kernel, refine_kernel
    from mgcore.optimize.minimize import minimize_trust_region
    from mgcore.refinement.module import coarsen, refine
    from mgcore.thesis.network import ThesisCNN
    from mgcore.train.resolution_ladder import coarse_to_fine

__version__ = "0.1.0"
__all__ = [
    "ThesisCNN", "coarse_to_fine", "coarsen", "coarsen_kernel", "minimize_trust_region", "prolong",
    "refine", "refine_kernel", "restrict",
]  # fmt: skip

# Imported on first use: ``mgcore --help`` answers without loading torch, which takes seconds.
_MODULES = {
    "ThesisCNN": "thesis.network",
    "coarse_to_fine": "train.resolution_ladder",
    "coarsen": "refinement.module",
    "coarsen_kernel": "kernels",
    "minimize_trust_region": "optimize",
    "prolong": "grids",
    "refine": "refinement.module",
    "refine_kernel": "kernels",
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
