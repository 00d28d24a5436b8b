"""Transfer of whole networks to another resolution: `refine` and `coarsen` for any `nn.Module`."""
