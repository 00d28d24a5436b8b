"""One trial: a coarse network, three initialisations on the fine grid, and measurements."""
