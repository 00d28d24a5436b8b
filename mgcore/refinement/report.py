"""What was done with each layer of a network that changed its resolution, to be read by people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mgcore.refinement.layouts import Axis
from mgcore.refinement.tracing import Use


@dataclass(frozen=True)
class Row:
    """One weight.

    Attributes
    ----------
    name : str
        As in the state dict.
    layer : str
        What kind of layer it belongs to.
    grid : str
        The cells that the layer writes (a dense layer: reads) before and after.
    done : str
        ``"refined"``, ``"coarsened"``, ``"copied"``, ``"kept"``, ``"prolonged"``, ``"restricted"``.
        Copied: its grid changes and the weight does not; kept: there was nothing to do.
    growth : float or None
        Norm of the new weights of a convolution over that of the old ones.
    note : str
        Why, and what holds.
    """

    name: str
    layer: str
    grid: str
    done: str
    growth: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Report:
    """The weights of a network, and what refining or coarsening did with each of them.

    Attributes
    ----------
    before, after : tuple of int
        The shapes of an input, (channels, *grid).
    rows : tuple of Row
        In the order in which an input meets the layers; weights that it does not meet come last.
    statistics : str
        What became of the running statistics of batch normalisation.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    rows: tuple[Row, ...]
    statistics: str

    def __getitem__(self, name: str) -> Row:
        """Return the row of a weight by its name."""
        return {row.name: row for row in self.rows}[name]

    def __str__(self) -> str:
        table = [("weight", "layer", "grid", "done", "grows", "")]
        for r in self.rows:
            growth = "" if r.growth is None else f"×{r.growth:.2f}"
            table.append((r.name, r.layer, r.grid, r.done, growth, r.note))
        wide = [max(len(line[k]) for line in table) for k in range(5)]
        lines = [
            "  ".join((*(f"{cell:{w}}" for cell, w in zip(line, wide, strict=False)), line[5]))
            for line in table
        ]
        counts = Counter(row.done for row in self.rows)
        summary = ", ".join(f"{count} {done}" for done, count in counts.items())
        head = f"inputs {self.before} → {self.after}: {summary or 'no weights'}"
        tail = f"batch normalisation: {self.statistics}"
        return "\n".join(line.rstrip() for line in (head, *lines, tail))


def describe(use: Use) -> str:
    """Return what kind of layer a weight belongs to, in a few words."""
    if use.kind == "dense":
        out, numbers = use.shape if use.axis else use.shape[::-1]
        return f"dense {numbers} → {out}"
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


def change_of(before: Axis | None, after: Axis | None) -> str:
    """Return "7×7 → 14×14", or the grid once where it stays."""
    ends: Sequence[str] = [sizes(before), sizes(after)]
    return ends[0] if ends[0] == ends[1] else " → ".join(ends)
