"""One trial: the coarse network, the three initialisations on the fine grid, and measurements."""
