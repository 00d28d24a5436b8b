"""Trust-region methods: truncated conjugate gradients and the loops around them."""
