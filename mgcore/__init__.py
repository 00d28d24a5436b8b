"""Multiresolution methods for convolutional neural networks: the numerics.

Restriction and prolongation, the Galerkin condition on convolution stencils, the small network on
which E. S. Crafts's thesis (Emory, 2019) tried them, and the same for any other network.  The
studies are in :mod:`mgcore.lab`, which this package never imports.
"""

from mgcore.grids import prolong, restrict
from mgcore.networks import ThesisCNN
from mgcore.scales import coarse_to_fine
from mgcore.surgery import coarsen, refine

__version__ = "0.1.0"
__all__ = ["ThesisCNN", "coarse_to_fine", "coarsen", "prolong", "refine", "restrict"]
