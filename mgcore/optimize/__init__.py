"""Trust regions with truncated conjugate gradients, and the Newton method of the thesis's software.

:func:`minimize_trust_region` minimises a function as ``scipy.optimize.minimize`` does;
:func:`steihaug` solves one trust-region subproblem.  They return an :class:`OptimizeResult` and a
:class:`Step`.  :func:`steihaug` raises a :class:`NotFiniteError` where a product is not finite.
"""

from mgcore.optimize.minimize import minimize_trust_region
from mgcore.optimize.truncated_cg import NotFiniteError, Step, steihaug
from mgcore.optimize.trust_region import OptimizeResult

__all__ = ["NotFiniteError", "OptimizeResult", "Step", "minimize_trust_region", "steihaug"]
