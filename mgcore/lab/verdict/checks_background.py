"""What the thesis states of stencils, relaxation and its networks, decided by computing.

These are the statements of chapters 2, 4 and 5; :mod:`mgcore.lab.verdict.checks` lists all of them by id.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mgcore.grids import prolong, restrict
from mgcore.kernels import coarsen_kernel
from mgcore.lab.records.record import Record, RecordError, records_folder
from mgcore.multigrid.cycles import build_levels, coarse_correction, convergence_factor, two_grid
from mgcore.multigrid.poisson import gauss_seidel, jacobi, mode, poisson_matrix
from mgcore.operators import OPERATORS, from_operators
from mgcore.thesis.network import ThesisCNN, step_flops

WORDS = ("reproduced", "not reproduced", "reversed", "corrected", "not decidable")
ROUNDING = 1e-12  # what counts as equal in float64


@dataclass(frozen=True)
class Finding:
    """What computing says of one statement.

    Attributes
    ----------
    word : str
        ``"reproduced"``: it holds as printed.  ``"corrected"``: it holds with the change, or within
        the bounds, that `shown` names.  ``"reversed"``: the opposite holds.  ``"not reproduced"``:
        none of these.  ``"not decidable"``: what it speaks of is not there to be looked at.
    shown : str
        One line, to be read alone, with the numbers that were computed.
    """

    word: str
    shown: str

    def __post_init__(self) -> None:
        """Refuse words that the ledger does not know."""
        if self.word not in WORDS:
            accepted = ", ".join(repr(word) for word in WORDS)
            raise ValueError(f"word={self.word!r}; accepted: {accepted}.")


def size(x: float) -> str:
    """Spell a distance: rounding errors, which differ between machines, as 0."""
    return "0" if abs(x) < ROUNDING else f"{x:.2g}"


def operator_limit() -> Finding:
    """Whether a stencil tends to its operators when h → 0 (thesis §2.3, (2.10)).

    Each stencil of :mod:`mgcore.operators`, β held, is applied to a smooth function whose
    derivatives are known, on five grids; the slope of its error over h is the order.  The limit
    holds if every order is 2 within a tenth.  The stencil printed for ∂² then decides whether the
    statement holds as printed: it has to sum to 0 and to give + ∂².
    """
    orders = {ndim: _orders(ndim) for ndim in OPERATORS}
    everything = np.concatenate(list(orders.values()))
    h, u = 2.0**-7, 0.4
    around = np.sin(u + h * np.array([-1.0, 0.0, 1.0]))
    printed, meant = np.array([-1.0, 2.0, 1.0]), np.array([-1.0, 2.0, -1.0])
    times = float(meant @ around) / h**2 / -np.sin(u)  # of the second derivative of the sine
    holds = bool(np.abs(everything - 2).max() < 0.1)
    as_printed = abs(printed.sum()) < ROUNDING and times > 0
    word = "not reproduced" if not holds else "reproduced" if as_printed else "corrected"
    line, square = orders[1], orders[2]
    return Finding(
        word,
        f"error of order {line.min():.2f} to {line.max():.2f} in h for the {len(line)} operators "
        f"on a line, {square.min():.2f} to {square.max():.2f} for the {len(square)} on a square; "
        f"the printed [-1 2 1] sums to {printed.sum():.0f}, and [-1 2 -1]/h² is {times:.2f} ∂², so "
        "that β₃ changes sign",
    )


def _orders(ndim: int) -> np.ndarray:
    """Return the measured order of each operator's stencil, for a product of sines."""
    sizes = 2.0 ** -np.arange(3.0, 8.0)
    units = torch.eye(len(OPERATORS[ndim]), dtype=torch.float64)
    waves, point = (2.0, 3.0)[:ndim], (0.3, 0.6)[:ndim]

    def along(t: np.ndarray, a: float, order: int = 0) -> np.ndarray:
        return a**order * np.sin(a * t + 1 + order * np.pi / 2)

    def values(h: float) -> np.ndarray:
        lines = [along(p + h * np.arange(-1, 2), a) for p, a in zip(point, waves, strict=True)]
        return lines[0] if ndim == 1 else np.outer(*lines)

    errors = []
    for unit, operator in zip(units, OPERATORS[ndim], strict=True):
        parts = zip(point, waves, operator.orders, strict=True)
        exact = np.prod([along(np.array(p), a, order) for p, a, order in parts])
        stencils = [from_operators(unit, h, ndim).numpy() for h in sizes]
        seen = [(s * values(h)).sum() for s, h in zip(stencils, sizes, strict=True)]
        errors.append(np.abs(np.array(seen) - exact))
    return np.polyfit(np.log(sizes), np.log(np.array(errors)).T, 1)[0]


def relaxation_smooths() -> Finding:
    """Whether relaxation removes rough error, and the coarse grid what remains (thesis §2.4).

    On 64 cells, what one step leaves of an error mode, in norm.  Reproduced if damped Jacobi and
    Gauss–Seidel leave at most half of every rough mode and at least 99 % of the smoothest, and the
    coarse grid at most 1 % of the smoothest; reversed if they keep more of the rough modes.
    """
    n = 64
    a, levels = poisson_matrix(n), build_levels(n, coarsest=n // 2)
    modes = np.stack([mode(k, n) for k in range(1, n + 1)], axis=1)  # (n, n), smooth ones first

    def left(step) -> np.ndarray:
        return np.linalg.norm(step(modes), axis=0) / np.linalg.norm(modes, axis=0)

    zero = 0 * modes
    swept = {
        "damped Jacobi": left(lambda e: jacobi(a, e, zero)),
        "Gauss–Seidel": left(lambda e: gauss_seidel(a, e, zero)),
    }
    rough = {name: found[n // 2 - 1 :].max() for name, found in swept.items()}
    smooth = {name: found[0] for name, found in swept.items()}
    undamped = left(lambda e: jacobi(a, e, zero, omega=1.0))[-2]
    corrected = left(lambda e: coarse_correction(levels, e, zero))[0]
    both = convergence_factor(lambda e: two_grid(levels, e, 0 * e), n)
    keeps, takes = min(smooth.values()), max(rough.values())
    if takes <= 0.5 and keeps >= 0.99 and corrected <= 0.01:
        word = "reproduced"
    else:
        word = "reversed" if takes > keeps else "not reproduced"
    sweeps = "; ".join(
        f"{name} leaves {rough[name]:.2f} of the worst rough mode, {smooth[name]:.4f} of the "
        "smoothest"
        for name in swept
    )
    return Finding(
        word,
        f"one sweep of {sweeps} (undamped Jacobi: {undamped:.3f} of a rough one); the coarse grid "
        f"leaves {corrected:.4f} of the smoothest; sweep, coarse grid and sweep together multiply "
        f"any error by {both:.2f} in the long run",
    )


def four_times_cheaper() -> Finding:
    """Whether half the resolution makes a training step about four times cheaper (thesis §2.4).

    Decided by counting the operations of a step at 28×28 and at 14×14: reproduced within a tenth
    of 4.  Seconds depend on the machine; what the records of :func:`recorded_ratio` hold is said.
    """
    ratios = {p: step_flops(28, p) / step_flops(14, p) for p in (False, True)}
    near = [abs(ratio - 4) <= 0.4 for ratio in ratios.values()]
    word = "reproduced" if all(near) else "not reproduced"
    if all(ratio < 1 for ratio in ratios.values()):
        word = "reversed"
    clocked = []
    for name, study in (("unpooled", "baseline"), ("pooled", "pooling")):
        try:
            record = Record(records_folder() / f"{study}-original-paper")
            clocked.append(f"{recorded_ratio(record):.1f} {name}")
        except RecordError:
            clocked.append(f"no record {name}")
    return Finding(
        word,
        f"operations of a training step, 28×28 over 14×14: {ratios[False]:.2f} unpooled, "
        f"{ratios[True]:.2f} pooled; recorded seconds an image: {', '.join(clocked)}",
    )


def recorded_ratio(record: Record) -> float:
    """Return the seconds of training an image on the fine grid over those on the coarse one.

    The mean over trials of the three fine runs' mean over the coarse run's, on the machine of the
    record, with whatever else that machine was doing.
    """
    protocol = record.protocol
    coarse_images = protocol.n_coarse * protocol.coarse_epochs
    fine_images = protocol.n_fine * protocol.fine_epochs
    ratios = []
    for trial in record.trials():
        seconds = trial["circumstances"]["seconds"]
        fine = np.mean([seconds[arm]["training"] for arm in ("new", "transfer", "multigrid")])
        ratios.append(fine / fine_images / (seconds["coarse"]["training"] / coarse_images))
    return float(np.mean(ratios))


def weights_count() -> Finding:
    """Whether the networks of §4.2, without pooling, have tens of thousands of weights."""
    counts = {
        (resolution, pooling): sum(p.numel() for p in ThesisCNN(resolution, pooling).parameters())
        for resolution, pooling in product((28, 14), (False, True))
    }
    tens = all(10_000 <= counts[resolution, False] < 100_000 for resolution in (28, 14))
    return Finding(
        "reproduced" if tens else "corrected",
        f"weights without pooling: {counts[28, False]:,} on the fine grid, {counts[14, False]:,} "
        f"on the coarse one; with pooling: {counts[28, True]:,} and {counts[14, True]:,}",
    )


def bias_terms() -> Finding:
    """Whether biases make multigrid harder, as chapter 5 says, though §3.2 sets them to zero.

    Not decidable if the thesis's convolutions have none.  If they had, the statement would hold if
    R (K P y + b) differed from K²ʰ y + b, inside, for a random stencil.
    """
    net = ThesisCNN(28)
    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    biased = sum(layer.bias is not None for layer in layers)
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    theta, y, b = draw(1, 1, 3, 3), draw(1, 1, 14, 14), 0.7

    def apply(stencil: Tensor, x: Tensor) -> Tensor:
        return F.conv2d(x, stencil, padding=1) + b

    difference = restrict(apply(theta, prolong(y))) - apply(coarsen_kernel(theta), y)
    gap = float(difference[..., 1:-1, 1:-1].abs().max())
    if not biased:
        word = "not decidable"
    else:
        word = "not reproduced" if gap < ROUNDING else "reproduced"
    return Finding(
        word,
        f"{biased} of the {len(layers)} convolutions have a bias, so that none could do harm; had "
        f"they one, R (K P y + b) and K²ʰ y + b would differ by {size(gap)} away from the edge",
    )
