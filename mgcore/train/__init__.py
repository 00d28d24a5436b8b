"""Training with a budget: on one grid, from coarse to fine, on several grids at once."""
