"""The change of a trained network's image size, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mgcore.lab.pages.tables import Table, mean_with_interval
from mgcore.lab.scales.fitted_map import DATA, Sweep
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


def fitted_map_table(sweeps: Iterable[tuple[str, str, Sweep]]) -> Table:
    """Return the held-out accuracies of four maps of kernels, a row for each kind of images.

    Parameters
    ----------
    sweeps : iterable of (str, str, Sweep)
        From :func:`mgcore.lab.scales.fitted_map.read_sweeps`.
    """
    rows = []
    for name, kind, sweep in sweeps:
        maps = (sweep.judged(0.0), sweep.judged(sweep.best), sweep.judged(1.0), sweep.fitted)
        first, second = sweep.exponents
        rows.append([
            DATA[name].heading, kind, f"{sweep.best:g}",
            *(mean_with_interval(values, 1) for values in maps), f"{first:.2f}", f"{second:.2f}",
        ])  # fmt: skip
    return Table(
        [
            "data, pixels", "images", "best t", "copied\nkernels", "at the\nbest t", "Galerkin",
            "fitted\nmap", "exponent,\np = 1", "exponent,\np = 2",
        ],
        rows,
        "Accuracy on held-out images in % before retraining, mean ± half-width of the 95 % "
        "interval over the networks that chose neither t nor the fitted map. Last columns: the t "
        "with which differences of order p have the same size on both grids.",
    )  # fmt: skip
