"""The report on what was done with each weight of a network that changed its resolution."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from mgcore.refinement.layouts import Axis
from mgcore.refinement.tracing import Use


@dataclass(frozen=True)
class WeightReport:
    """What was done with one weight.

    Attributes
    ----------
    name : str
        As in the state dict.
    layer : str
        The kind of layer that it belongs to.
    grid : str
        The cells that the layer writes (a dense layer: reads) before and after.
    done : str
        The rule.  ``"refined"``, ``"coarsened"``: by the Galerkin condition, exactly;
        ``"fitted"``: by least squares; ``"prolonged"``, ``"restricted"``: a dense layer;
        ``"resampled"``: a table of positions; ``"copied"``: the grid changes and the weight does
        not; ``"kept"``: there was nothing to do.
    growth : float or None
        Norm of the new weight of a convolution over that of the old one; None where it does not
        change, is zero, or has no numbers (meta device).
    note : str
        The reason, and which property holds.
    residual : float or None
        Of a convolution that is refined, coarsened or fitted: the part of its responses that the
        new kernels do not reproduce, as a ratio of norms.  0 where the Galerkin condition holds
        exactly.  On the meta device that of kernels of white noise.
    """

    name: str
    layer: str
    grid: str
    done: str
    growth: float | None = None
    note: str = ""
    residual: float | None = None


@dataclass(frozen=True)
class Report:
    """What :func:`mgcore.refine` or :func:`mgcore.coarsen` did, as a table for ``print``.

    Attributes
    ----------
    before, after : tuple of int
        The shapes of an input, (channels, *grid).
    rows : tuple of WeightReport
        In the order in which an input meets the layers; weights that it does not meet come last.
    statistics : str
        What was done with the running statistics of normalisation layers.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    rows: tuple[WeightReport, ...]
    statistics: str

    def __getitem__(self, name: str) -> WeightReport:
        """Return the row of a weight by its name."""
        return {row.name: row for row in self.rows}[name]

    def __str__(self) -> str:
        """Return the table, with the signs → and ×."""
        fitted = any(r.residual for r in self.rows)
        table = [["weight", "layer", "grid", "done", "grows", *["residual"][:fitted], ""]]
        for r in self.rows:
            growth = "" if r.growth is None else f"×{r.growth:.2f}"
            residual = "" if r.residual is None else f"{r.residual:.0%}"
            table.append([r.name, r.layer, r.grid, r.done, growth, *[residual][:fitted], r.note])
        widths = [max(len(line[k]) for line in table) for k in range(len(table[0]) - 1)]
        lines = [
            "  ".join((*(f"{cell:{w}}" for cell, w in zip(line, widths, strict=False)), line[-1]))
            for line in table
        ]
        counts = Counter(row.done for row in self.rows)
        summary = ", ".join(f"{count} {done}" for done, count in counts.items())
        first = f"inputs {self.before} → {self.after}: {summary or 'no weights'}"
        last = f"running statistics: {self.statistics}"
        return "\n".join(line.rstrip() for line in (first, *lines, last))

    def ascii(self) -> str:
        """Return the table in ASCII, for terminals that show nothing else."""
        text = str(self).replace("→", "->").replace("×", "x")
        return text.encode("ascii", "backslashreplace").decode("ascii")


def describe(use: Use) -> str:
    """Return what kind of layer a weight belongs to, in a few words."""
    if use.kind == "dense":
        out, numbers = use.shape if use.axis else use.shape[::-1]
        return f"dense {numbers} → {out}"
    if use.kind == "position table":
        return " × ".join(map(str, use.shape)) + " position table"
    words = ["×".join(map(str, use.shape[2:])) + " " + use.kind]
    for word, values in (("stride", use.stride), ("dilation", use.dilation)):
        if max(values) > 1:
            words.append(f"{word} {max(values)}")
    if use.groups > 1:
        words.append("depthwise" if use.shape[1] == 1 else f"{use.groups} groups")
    return ", ".join(words)


def sizes(reads: Axis | None) -> str:
    """Return the cells of a grid as "14×14"; empty where there is none, or none is known."""
    return "×".join(str(factor.size) for factor in reads or () if factor.kind == "grid")


def size_change(before: Axis | None, after: Axis | None) -> str:
    """Return "7×7 → 14×14", or the grid once where it stays."""
    old, new = sizes(before), sizes(after)
    return old if old == new else f"{old} → {new}"
