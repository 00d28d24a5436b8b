"""Multiresolution methods for convolutional neural networks: the numerics.

Restriction and prolongation, the Galerkin condition on convolution stencils, the small network on
which E. S. Crafts's thesis (Emory, 2019) tried them, and the same for any other network.  The
studies are in :mod:`mgcore.lab`, which this package never imports.
"""

from mgcore.grids import prolong, restrict
from mgcore.optimize import minimize_trust_region
from mgcore.refinement.module import coarsen, refine
from mgcore.thesis.network import ThesisCNN
from mgcore.train.resolution_ladder import coarse_to_fine

__version__ = "0.1.0"
__all__ = [
    "ThesisCNN",
    "coarse_to_fine",
    "coarsen",
    "minimize_trust_region",
    "prolong",
    "refine",
    "restrict",
]
