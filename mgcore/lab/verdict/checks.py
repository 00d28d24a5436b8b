"""The mathematical statements of the thesis, each decided by computing.

A check returns a :class:`Finding`: a word, and one line with the numbers behind it.  The rule that
gives the word is in the check's docstring.  :data:`CHECKS` lists the checks by the id of their
claim.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mgcore.data.strokes import stroke_digits
from mgcore.grids import PROLONGATIONS, prolong, restrict
from mgcore.kernels import coarsen_kernel, refine_classifier, refine_kernel
from mgcore.lab.protocol import CONDITIONS
from mgcore.lab.records.files import NotRecordedError
from mgcore.lab.records.record import Record, records_folder
from mgcore.lab.verdict.agreement import interval
from mgcore.multigrid.cycles import build_levels, coarse_correction, convergence_factor, two_grid
from mgcore.multigrid.poisson import gauss_seidel, jacobi, mode, poisson_matrix
from mgcore.operators import OPERATORS, from_operators, rediscretise, to_operators
from mgcore.thesis.network import (
    STENCILS,
    ThesisCNN,
    feature_maps,
    initial_weights,
    refine_weights,
    step_flops,
)
from mgcore.thesis.regularization import smoothness

WORDS = ("reproduced", "not reproduced", "reversed", "corrected", "not decidable")
ROUNDING = 1e-12  # differences below it count as zero in float64
COARSE_SIDE = 14  # cells along a side of the coarse grid (§3.1.1)


@dataclass(frozen=True)
class Finding:
    """The outcome of a check.

    Attributes
    ----------
    word : str
        ``"reproduced"``: the statement holds as printed.  ``"corrected"``: it holds with the
        change, or within the bounds, that `shown` names.  ``"reversed"``: the opposite holds.
        ``"not reproduced"``: none of these.  ``"not decidable"``: its subject does not exist here.
    shown : str
        One line with the computed numbers, understandable by itself.
    """

    word: str
    shown: str

    def __post_init__(self) -> None:
        """Check the word."""
        if self.word not in WORDS:
            options = ", ".join(repr(word) for word in WORDS)
            raise ValueError(f"word must be one of {options}, got {self.word!r}.")


def size(x: float) -> str:
    """Format a distance; rounding errors, which differ between machines, become 0."""
    return "0" if abs(x) < ROUNDING else f"{x:.2g}"


def operator_limit() -> Finding:
    """Decide whether a kernel tends to its differential operators as h → 0 (thesis §2.3, (2.10)).

    Each kernel of :mod:`mgcore.operators` with fixed β is applied to a smooth function with known
    derivatives on five grids; the slope of log error over log h is the order.  The limit holds if
    every order is 2 within a tenth.  The stencil printed for ∂² then decides whether the statement
    holds as printed: it must sum to 0 and approximate + ∂².
    """
    orders = {ndim: _orders(ndim) for ndim in OPERATORS}
    everything = np.concatenate(list(orders.values()))
    h, u = 2.0**-7, 0.4
    around = np.sin(u + h * np.array([-1.0, 0.0, 1.0]))
    printed, meant = np.array([-1.0, 2.0, 1.0]), np.array([-1.0, 2.0, -1.0])
    times = float(meant @ around) / h**2 / -np.sin(u)  # in multiples of the second derivative
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
    """Return the measured order of each operator's kernel, for a product of sines."""
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
    """Decide whether relaxation and coarse grid remove complementary errors (thesis §2.4).

    On 64 cells the norm of an error mode after one step is measured.  Reproduced if damped Jacobi
    and Gauss–Seidel leave at most half of every oscillatory mode and at least 99 % of the
    smoothest, and the coarse grid leaves at most 1 % of the smoothest; reversed if relaxation
    leaves more of an oscillatory mode than of the smoothest.
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
    """Decide whether half the resolution makes a step four times cheaper (thesis §2.4).

    The operations of a step at 28×28 and at 14×14 are counted: reproduced if their ratio is within
    a tenth of 4.  Seconds depend on the machine; those of the records are shown as well.
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
        except NotRecordedError:
            clocked.append(f"no record {name}")
    return Finding(
        word,
        f"operations of a training step, 28×28 over 14×14: {ratios[False]:.2f} unpooled, "
        f"{ratios[True]:.2f} pooled; recorded seconds an image: {', '.join(clocked)}",
    )


def recorded_ratio(record: Record) -> float:
    """Return the ratio of training seconds per image, fine grid over coarse grid.

    The ratio of the three fine networks' mean to the coarse network's time, averaged over trials,
    on the record's machine under its load at that time.
    """
    protocol = record.protocol
    coarse_images = protocol.n_coarse * protocol.coarse_epochs
    fine_images = protocol.n_fine * protocol.fine_epochs
    ratios = []
    for trial in record.trials():
        seconds = trial["circumstances"]["seconds"]
        fine = np.mean([seconds[condition]["training"] for condition in CONDITIONS])
        ratios.append(fine / fine_images / (seconds["coarse"]["training"] / coarse_images))
    return float(np.mean(ratios))


def weights_count() -> Finding:
    """Decide whether the networks of §4.2 without pooling have tens of thousands of weights."""
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
    """Decide whether biases make multigrid harder (thesis ch. 5; §3.2 sets them to zero).

    Not decidable if the thesis's convolutions have no bias.  Otherwise reproduced if R (K P y + b)
    differs from K²ʰ y + b away from the boundary, for a random kernel.
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


def seeded(number: int) -> Callable[..., Tensor]:
    """Return a source of normal random numbers with its own seed."""
    generator = torch.Generator().manual_seed(number)
    return partial(torch.randn, generator=generator, dtype=torch.float64)


def relative(found: Tensor, wanted: Tensor) -> float:
    """Return the distance of two tensors relative to the norm of the second."""
    return float((found - wanted).norm() / wanted.norm())


def galerkin_stencil(stencil: Tensor, kind: str) -> Tensor:
    """Return the kernel of R K P on a periodic grid, from the response to a unit impulse.

    Parameters
    ----------
    stencil : Tensor, shape (w, w)
        w odd, at most 9; float64.
    kind : {"bilinear", "constant"}

    Returns
    -------
    Tensor, shape (v, v)
        v is the least odd width that contains all nonzero entries.
    """
    cells, reach = 24, stencil.shape[-1] // 2
    unit = torch.zeros(1, 1, cells, cells, dtype=stencil.dtype)
    unit[..., cells // 2, cells // 2] = 1.0
    padded = F.pad(prolong(unit, kind, boundary="periodic"), (reach,) * 4, mode="circular")
    response = restrict(F.conv2d(padded, stencil[None, None]))[0, 0]
    # Kernels act by correlation, so the impulse response is the kernel reversed.
    rows, columns = torch.nonzero(response.abs() > ROUNDING, as_tuple=True)
    far = int(torch.cat([rows, columns]).sub(cells // 2).abs().max())
    window = slice(cells // 2 - far, cells // 2 + far + 1)
    return response[window, window].flip(0, 1)


def coarse_stencil_size() -> Finding:
    """Decide whether the coarse kernel has the size of the fine one, n_k × n_k (thesis §3.1.2).

    Measured for random kernels of 3, 5 and 7 cells.  Reproduced if all keep their size, corrected
    if only those of 3 cells do, with both prolongations.
    """
    widths = {
        (fine, kind): len(galerkin_stencil(seeded(fine)(fine, fine), kind))
        for kind in PROLONGATIONS
        for fine in (3, 5, 7)
    }
    keeps = {case for case, found in widths.items() if found == case[0]}
    if len(keeps) == len(widths):
        word = "reproduced"
    else:
        small = all((3, kind) in keeps for kind in PROLONGATIONS)
        word = "corrected" if small else "not reproduced"
    shown = "; ".join(
        f"{kind} P: "
        + ", ".join(f"{w}×{w} → {widths[w, kind]}×{widths[w, kind]}" for w in (3, 5, 7))
        for kind in PROLONGATIONS
    )
    return Finding(word, f"size of the stencil of R K P, {shown}")


def geometric_or_algebraic() -> Finding:
    """Decide whether the Galerkin operator differs from rediscretisation (thesis §3.1.2).

    R K P is compared with the same differential operators discretised on the coarse grid.
    Corrected if the two are equal for bilinear P in the basis with the mass stencil [1 4 1]/6,
    else reproduced.
    """
    apart = {"galerkin": 0.0, "thesis": 0.0}
    for theta in seeded(3)(20, 3, 3):
        algebraic = galerkin_stencil(theta, "bilinear")
        for basis in apart:
            geometric = rediscretise(theta, 1.0, 2.0, basis=basis)
            apart[basis] = max(apart[basis], relative(algebraic, geometric))
    laplacian = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]], dtype=torch.float64)
    diffusion = [operator.name for operator in OPERATORS[2]].index("∂u²")
    times = {
        kind: float(to_operators(galerkin_stencil(laplacian, kind), 2.0)[diffusion])
        / float(to_operators(laplacian, 1.0)[diffusion])
        for kind in PROLONGATIONS
    }
    return Finding(
        "corrected" if apart["galerkin"] < ROUNDING else "reproduced",
        "Galerkin operator against geometric rediscretisation, random stencils, bilinear P: apart "
        f"by {size(apart['galerkin'])} with the mass stencil [1 4 1]/6, by up to "
        f"{apart['thesis']:.2g} of their size with [1 2 1]/4; a level multiplies diffusion by "
        f"{times['bilinear']:.2f} with bilinear and {times['constant']:.2f} with constant P",
    )


def prolongation_restriction() -> Finding:
    """Decide whether x²ʰ = R xʰ and xʰ = P x²ʰ can both hold (thesis (3.3)).

    For all images this means R P = I and P R = I.  Reproduced if some P satisfies both, corrected
    if some P satisfies the first, else not reproduced.
    """
    n = 2 * COARSE_SIDE
    coarse, fine = (torch.eye(m, dtype=torch.float64) for m in (COARSE_SIDE, n))
    digits, _ = stroke_digits(20, n, dtype=torch.float64)
    down_up, up_down, lost = {}, {}, {}
    for kind in PROLONGATIONS:
        up_down[kind] = float((restrict(prolong(coarse, kind, 1), 1) - coarse).abs().max())
        round_trip = prolong(restrict(fine, 1), kind, 1)
        down_up[kind] = float((round_trip - fine).abs().max())
        lost[kind] = relative(prolong(restrict(digits), kind), digits)
    rank = int(torch.linalg.matrix_rank(round_trip))
    first = [kind for kind in PROLONGATIONS if up_down[kind] < ROUNDING]
    both = [kind for kind in first if down_up[kind] < ROUNDING]
    shown = "; ".join(
        f"{kind} P: R P is off the identity by {size(up_down[kind])}, P R by "
        f"{size(down_up[kind])}, digits by {lost[kind]:.2f} of their norm"
        for kind in PROLONGATIONS
    )
    return Finding(
        "reproduced" if both else "corrected" if first else "not reproduced",
        f"{shown}; P R on a line has rank {rank} of {n}",
    )


def galerkin_exact() -> Finding:
    """Decide whether K²ʰ y = R Kʰ P y, for a linear layer and a network (thesis (3.4)–(3.5)).

    A refined random network of 14×14 is applied to prolonged digits with zero padding.  Not
    reproduced if the linear layer fails away from the boundary for some P; reproduced if equality
    also holds at the boundary and after the second ReLU; otherwise corrected.
    """
    y = restrict(stroke_digits(3, 2 * COARSE_SIDE, dtype=torch.float64)[0])[:, None]
    coarse = initial_weights(
        COARSE_SIDE, False, torch.Generator().manual_seed(4), stencil_scale="he"
    )
    wanted, negative = (F.conv2d(x, coarse[STENCILS[0]], padding=1) for x in (y, 1 - y))
    inside, at_edge, after = {}, {}, {}
    for kind in PROLONGATIONS:
        fine, x = refine_weights(coarse, COARSE_SIDE, prolongation=kind), prolong(y, kind)
        found = restrict(F.conv2d(x, fine[STENCILS[0]], padding=1))
        inside[kind] = float((found - wanted)[..., 1:-1, 1:-1].abs().max())
        # Digits vanish at the boundary; inverted digits show the error of zero padding.
        found = restrict(F.conv2d(prolong(1 - y, kind), fine[STENCILS[0]], padding=1))
        at_edge[kind] = float((found - negative).abs().max() / negative.abs().max())
        pairs = zip(feature_maps(fine, x, False), feature_maps(coarse, y, False), strict=True)
        after[kind] = [relative(restrict(f), c) for f, c in pairs]
    if max(inside.values()) > ROUNDING:
        word = "not reproduced"
    elif max(at_edge.values()) > ROUNDING or max(after[k][-1] for k in after) > ROUNDING:
        word = "corrected"
    else:
        word = "reproduced"
    shown = "; ".join(
        f"{kind} P: one linear layer off by {size(inside[kind])} inside and {size(at_edge[kind])} "
        f"of its size at a zero-padded edge, the network by {after[kind][0]:.2f} of its maps' size "
        f"after the first ReLU and {after[kind][1]:.2f} after the second"
        for kind in PROLONGATIONS
    )
    return Finding(word, shown)


def discontinuous_images() -> Finding:
    """Decide whether piecewise constant images make the transfer of kernels worse (thesis ch. 5).

    One part of the statement can be computed without training: the distance of the coarse layer
    from the restricted fine layer, e(x) = ‖R Kʰ x − K²ʰ R x‖ / ‖K²ʰ R x‖, on original images x.
    Stroke digits are compared with the same digits thresholded at one half, for forty random
    kernels (combinations of the value, slopes and curvatures) refined with bilinear P.  The
    criterion was fixed before any value was computed: with the 95 % interval over kernels of the
    geometric mean of e(thresholded)/e(smooth), reproduced if the interval lies above 1.1, reversed
    if it lies below 1/1.1, else not reproduced.
    """
    digits, _ = stroke_digits(30, 2 * COARSE_SIDE, dtype=torch.float64)
    images = {"smooth": digits[:, None], "thresholded": (digits > 0.5).double()[:, None]}
    low_order = torch.tensor([sum(o.orders) <= 2 for o in OPERATORS[2]], dtype=torch.float64)
    coarse = from_operators(seeded(5)(40, 9) * low_order, 1.0, basis="galerkin")[:, None]
    fine = refine_kernel(coarse)
    error = {}
    for name, x in images.items():
        wanted = F.conv2d(restrict(x), coarse)  # (30, 40, 12, 12): inside, no padding
        found = restrict(F.conv2d(x, fine, padding=1))[..., 1:-1, 1:-1]
        distance, length = (
            torch.linalg.vector_norm(a, dim=(0, 2, 3)) for a in (found - wanted, wanted)
        )
        error[name] = distance / length  # (40,)
    mean, half = interval((error["thresholded"] / error["smooth"]).log().tolist())
    assert half is not None  # there are 40 kernels
    low, high = math.exp(mean - half), math.exp(mean + half)
    word = "reproduced" if low > 1.1 else "reversed" if high < 1 / 1.1 else "not reproduced"
    means = {name: float(e.log().mean().exp()) for name, e in error.items()}
    return Finding(
        word,
        f"R Kʰ x is off K²ʰ R x by {means['smooth']:.2f} of its size for smooth digits and "
        f"{means['thresholded']:.2f} for thresholded ones, {math.exp(mean):.2f} times as far (95 % "
        f"interval over {len(coarse)} stencils {low:.2f} to {high:.2f}); the consistency of a "
        "layer, not the accuracy of a network",
    )


def _factor_word(printed: float, right: float) -> str:
    """Return the word for a printed factor: equal within 2 %, on the other side of 1, or other."""
    if abs(right / printed - 1) < 0.02:
        return "reproduced"
    return "reversed" if math.log(printed) * math.log(right) < 0 else "corrected"


def classifier_factor() -> Finding:
    """Compute the factor of classifier weights from coarse to fine; 4 is printed (thesis §3.1.3).

    The factor keeps the logits best, by least squares, for constant and for smooth features,
    sampled at the cell centres of both grids.  Reproduced if it is 4 within
    2 %; reversed if it lies on the other side of 1; corrected otherwise.
    """
    generator = torch.Generator().manual_seed(0)
    w = initial_weights(COARSE_SIDE, False, generator)["classifier.weight"]
    prolonged = refine_classifier(w, (COARSE_SIDE, COARSE_SIDE), scale=1.0)
    images, channels = 8, w.shape[1] // COARSE_SIDE**2
    draw = seeded(1)
    level, tilt, phase = (draw(images, channels, 1, 1) for _ in range(3))
    best, off, times = {}, {}, {}
    for name, amount in (("constant", 0.0), ("smooth", 0.5)):
        z, fine = (
            _features(n, level, amount * tilt, phase).flatten(1) @ weight.T
            for n, weight in ((COARSE_SIDE, w), (2 * COARSE_SIDE, prolonged))
        )
        best[name] = float((z * fine).sum() / fine.square().sum())
        off[name] = relative(best[name] * fine, z)
        times[name] = 4.0 / best[name]
    words = {_factor_word(4.0, factor) for factor in best.values()}
    word = words.pop() if len(words) == 1 else "not reproduced"
    if max(off.values()) > 0.05:  # no factor keeps the logits
        word = "not reproduced"
    return Finding(
        word,
        f"the factor that keeps the logits is {best['constant']:.4f} for constant features (they "
        f"then differ by {size(off['constant'])} of their size) and {best['smooth']:.4f} for "
        f"smooth ones ({size(off['smooth'])}): divide by 4; with × 4 the logits are "
        f"{times['constant']:.1f} times as large",
    )


def _features(n: int, level: Tensor, tilt: Tensor, phase: Tensor) -> Tensor:
    """Sample a smooth function for each image and channel at the n×n cell centres."""
    centre = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    return level + tilt * torch.cos(3 * centre[:, None] + 2 * centre + phase)


def penalty_factor() -> Finding:
    """Decide whether the smoothness penalty requires α_coarse = 4 α_fine (thesis §3.2.1).

    A smooth classifier is transferred to the fine grid.  The ratio of its penalties, fine over
    coarse, is the α_coarse/α_fine that treats both alike, for differences divided by h = 1 and by
    h = 1/n.  The word is that of :func:`classifier_factor`'s rule if both ratios agree on it, else
    "not decidable".
    """
    zero = torch.zeros(10, 1, 1, 1, dtype=torch.float64)
    draw = seeded(2)
    tilt, phase = draw(10, 1, 1, 1), draw(10, 1, 1, 1)
    coarse = _features(COARSE_SIDE, zero, tilt, phase)  # (10, 1, 14, 14)

    def ratios(scale: float | None) -> list[float]:
        flat = refine_classifier(coarse.flatten(1), (COARSE_SIDE, COARSE_SIDE), scale=scale)
        fine = flat.view(10, 1, 2 * COARSE_SIDE, 2 * COARSE_SIDE)
        return [
            float(smoothness(fine, 1.0, h / 2) / smoothness(coarse, 1.0, h))
            if physical
            else float(smoothness(fine, 1.0) / smoothness(coarse, 1.0))
            for h, physical in ((1.0, False), (1 / COARSE_SIDE, True))
        ]

    plain, physical = ratios(None)
    words = {_factor_word(4.0, ratio) for ratio in (plain, physical)}
    values = ratios(1.0)
    return Finding(
        words.pop() if len(words) == 1 else "not decidable",
        f"the same classifier asks for α_coarse = {plain:.3f} α_fine with h = 1 and "
        f"{physical:.2f} α_fine with h = 1/n; weights left unscaled, as function values, for "
        f"{values[0]:.2f} and {values[1]:.2f}",
    )


CHECKS: dict[str, Callable[[], Finding]] = {
    "operator-limit": operator_limit,
    "relaxation-smooths": relaxation_smooths,
    "four-times-cheaper": four_times_cheaper,
    "coarse-stencil-size": coarse_stencil_size,
    "geometric-or-algebraic": geometric_or_algebraic,
    "prolongation-restriction": prolongation_restriction,
    "galerkin-exact": galerkin_exact,
    "classifier-factor": classifier_factor,
    "penalty-factor": penalty_factor,
    "weights-count": weights_count,
    "discontinuous-images": discontinuous_images,
    "bias-terms": bias_terms,
}
