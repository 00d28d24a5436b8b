"""The choices that the thesis leaves open, and the source of the generalization gap."""
