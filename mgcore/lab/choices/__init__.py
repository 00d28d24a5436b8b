"""The choices that the thesis leaves open: calibration, multiverse, and where the gap comes from."""
