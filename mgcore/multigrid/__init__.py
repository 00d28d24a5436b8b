"""The model problem of multigrid: Poisson's equation, cycles, local Fourier analysis."""
