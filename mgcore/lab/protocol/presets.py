"""The named protocols as data: the values that each sets where the thesis states none."""

from __future__ import annotations

from typing import Any

# The choice of the calibration (:mod:`mgcore.lab.choices.calibration`): among the candidates that
# its fourth stage keeps, the one that fitted the thesis best in its third.  A test compares it with
# the recorded runs.
CHOSEN: dict[str, Any] = {
    "penalty_scale": 1 / 256, "momentum": 0.0, "stencil_scale": "flat",
    "normalisation": "standardised",
}  # fmt: skip
# The other finalists of the calibration: with random initialisation they fit as well, with larger
# penalties.
STRONG: dict[str, Any] = {
    "name": "strong", "penalty_scale": 1.0, "momentum": 0.9, "stencil_scale": "meganet",
    "normalisation": "standardised",
}  # fmt: skip
MEDIUM: dict[str, Any] = {
    "name": "medium", "penalty_scale": 1 / 16, "momentum": 0.0, "stencil_scale": "flat",
    "normalisation": "standardised",
}  # fmt: skip

# The fields that each tier changes.  The smoke tier computes in float64, so that its rounded
# results, and the pages that show them, are the same on every machine.
SIZES: dict[str, dict[str, Any]] = {
    "smoke": {
        "n_coarse": 768, "n_fine": 256, "n_validation": 256,
        "coarse_epochs": 4, "fine_epochs": 3, "subset": 100, "dtype": "float64", "resolution": 16,
    },
    "class": {
        "n_coarse": 10_000, "n_fine": 4_000, "n_validation": 4_000,
        "coarse_epochs": 5, "fine_epochs": 3, "subset": 500,
    },
    "paper": {},
}  # fmt: skip
