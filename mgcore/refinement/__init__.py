"""Whole networks carried to another resolution: `refine` and `coarsen` for any `nn.Module`."""
