"""Multiresolution methods for convolutional neural networks.

Restriction and prolongation, the Galerkin condition on convolution kernels, the network of E. S.
Crafts's thesis (Emory, 2019), and the transfer of any other network between resolutions.  The
studies that reproduce the thesis are in :mod:`mgcore.lab`, which no other module imports.
"""

from mgcore.grids import prolong, restrict
from mgcore.kernels import coarsen_kernel, refine_kernel
from mgcore.refinement.module import coarsen, refine
from mgcore.thesis.network import ThesisCNN
from mgcore.train.resolution_ladder import coarse_to_fine

__version__ = "0.1.0"
__all__ = [
    "ThesisCNN",
    "coarse_to_fine",
    "coarsen",
    "coarsen_kernel",
    "prolong",
    "refine",
    "refine_kernel",
    "restrict",
]
