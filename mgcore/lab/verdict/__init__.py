"""Verdicts: whether a run agrees with the record, and whether the record agrees with the thesis."""
