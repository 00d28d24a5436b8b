"""Training strategies on two grids, compared at equal work."""
