"""The thesis's network, its objective, and the derivatives of the objective.

The functions of this package take weights as dictionaries of tensors (``Weights``), not modules.
This engine is internal to ``mgcore.thesis`` and ``mgcore.lab.trial``: it trains the thesis's
network faster on a CPU than ``torch.optim`` does, and it trains the networks of several trials at
once along a leading axis on a GPU (:mod:`mgcore.thesis.ensemble`).  The public functions of mgcore
take modules; :class:`mgcore.ThesisCNN` is the same network as a module.
"""
