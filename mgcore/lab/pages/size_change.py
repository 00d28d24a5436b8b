"""The change of a trained network's image size, in words and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mgcore.lab.pages.tables import Table, mean_with_interval
from mgcore.lab.scales.size_change import CHANGES, EPOCHS, METHODS, accuracies_of


def size_change_table(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> Table:
    """Return the held-out accuracies, a row for each change and number of epochs."""
    rows = []
    for name, seeds in results.items():
        for stage, epochs in enumerate(EPOCHS):
            values = [
                mean_with_interval(accuracies_of(seeds, method, stage), 1) for method in METHODS
            ]
            old = mean_with_interval([seed["old"] for seed in seeds], 1)
            first = (CHANGES[name].heading, old) if not stage else ("", "")
            rows.append([*first, str(epochs), *values])
    counts = sorted({len(seeds) for seeds in results.values()})
    return Table(
        [
            "data, pixels", "old network,\nold size", "epochs", "copied\nkernels",
            "Galerkin or\nleast squares", "images\nresized", "classifier\nonly", "random\nweights",
        ],
        rows,
        "Accuracy on held-out images in %, mean ± half-width of the 95 % interval, after some "
        f"epochs of retraining. Seeds: {', '.join(map(str, counts))}. Factors that are no integer "
        "have fitted kernels, others refined ones.",
    )  # fmt: skip
