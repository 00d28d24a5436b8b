"""The records of what :func:`mgcore.refine` does to published networks, as tables."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from mgcore.lab.pages.tables import Table
from mgcore.lab.records.files import read_json, records_folder

RATIOS = ((2, 1), (9, 7))  # new and old pixels
LIBRARIES = ("torchvision", "timm")
KINDS = ("classification", "segmentation", "video", "detection")  # of torchvision's networks


def zoo_path(library: str = LIBRARIES[0]) -> Path:
    """Return the file of the record of a library."""
    return records_folder() / "zoo" / f"{library}.json"


@dataclass
class Result:
    """What was done to one network at one ratio.

    Attributes
    ----------
    name : str
        The library's.
    kind : str
        What a network of torchvision does, one of :data:`KINDS`; the module of a network of timm.
    before, after : list of int
        Shapes of an input.
    into : bool
        Whether a network that is made for the new size was given.
    counts : dict
        Weights by what was done with them, as in the report.
    residuals : list of float
        Median and maximum over the fitted layers, for kernels of white noise.
    refusal : str
        The sentence, or empty.
    warning : str
        The sentence where the network is accepted with ``sums="warn"`` alone, or empty.
    """

    name: str
    kind: str
    before: list[int]
    after: list[int]
    into: bool = False
    counts: dict[str, int] = field(default_factory=dict)
    residuals: list[float] = field(default_factory=list)
    refusal: str = ""
    warning: str = ""

    @property
    def family(self) -> str:
        """Name of the architecture without its size, and what it does if it is no classifier.

        Of a network of timm its module.
        """
        if self.kind not in KINDS:
            return self.kind
        name = "wide_resnet" if self.name.startswith("wide") else self.name.split("_")[0]
        classifier = self.kind == "classification"
        return re.sub(r"\d+$", "", name) if classifier else f"{name} ({self.kind})"

    @property
    def doubled(self) -> bool:
        """Whether the ratio is 2."""
        return self.after[-1] == 2 * self.before[-1]


def read_zoo(library: str = LIBRARIES[0]) -> list[Result]:
    """Return the results, classifiers first and families in the order of the alphabet."""
    results = [Result(**result) for result in read_json(zoo_path(library))["results"]]
    return sorted(results, key=lambda r: (r.kind != "classification", r.family, r.name))


def zoo_counts(results: list[Result]) -> dict[str, int]:
    """Return how many networks and transfers there are, and how many layers each rule changed.

    Returns
    -------
    dict
        "networks"; "results", of these those "refused" and those "warned" of; networks that need a
        second network, "into"; and layers that were "refined", "fitted" and "copied", over all
        results.
    """
    layers = sum((Counter(result.counts) for result in results), Counter[str]())
    return {
        "networks": len({(r.name, r.kind) for r in results}),
        "results": len(results),
        "refused": sum(bool(r.refusal) for r in results),
        "warned": sum(bool(r.warning) for r in results),
        "into": len({(r.name, r.kind) for r in results if r.into}),
    } | {rule: layers[rule] for rule in ("refined", "fitted", "copied")}


def zoo_table(results: list[Result]) -> Table:
    """Return the numbers of layers by rule, a row for each family of networks."""
    families: dict[str, list[Result]] = {}
    for result in results:
        families.setdefault(result.family, []).append(result)
    rows = []
    for family, members in families.items():
        cells = [family, str(len({r.name for r in members}))]
        for doubled in (True, False):
            here = [r for r in members if r.doubled is doubled]
            counts = sum((Counter(r.counts) for r in here), Counter[str]())
            kinds = ("refined", "fitted", "copied")[0 if doubled else 1 :]
            cells += [str(counts[kind] or "") for kind in kinds]
            fits = [r.residuals[0] for r in here if r.residuals]
            cells.append(f"{median(fits):.0%}" if fits else "")
        tables = sum(r.counts.get("resampled", 0) for r in members)
        cells += [str(tables or ""), str(sum(bool(r.refusal) for r in members) or "")]
        rows.append(cells)
    return Table(
        [
            "family", "networks", "factor 2:\nexact", "fitted", "copied", "residual",
            "factor 9/7:\nfitted", "copied", "residual", "tables", "refused",
        ],
        rows,
        "Layers whose grid changes, by rule, summed over the networks of a family: refined "
        "exactly, fitted by least squares, or copied. The residual is the median over networks, "
        "for kernels of white noise. Tables of positions are resampled. Refused counts networks "
        "and sizes.",
    )  # fmt: skip


def refusals_table(results: list[Result]) -> Table:
    """Return a row for each transfer that is refused, or accepted with a warning alone."""
    return Table(
        ["network", "family", "pixels", "sums='warn'", "sentence"],
        [
            [
                r.name, r.family, f"{r.before[-1]} → {r.after[-1]}",
                "accepted" if r.warning else "refused", r.warning or r.refusal,
            ]
            for r in results if r.refusal or r.warning
        ],
        "Transfers that are refused, or accepted with sums='warn' alone, and the reason.",
    )  # fmt: skip
