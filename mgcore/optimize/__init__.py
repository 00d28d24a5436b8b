"""Trust regions with truncated conjugate gradients, and the Newton method of the thesis's software.

:func:`minimize_trust_region` minimises a function as ``scipy.optimize.minimize`` does;
:func:`steihaug` solves one trust-region subproblem.
"""

from mgcore.optimize.minimize import minimize_trust_region
from mgcore.optimize.truncated_cg import steihaug

__all__ = ["minimize_trust_region", "steihaug"]
