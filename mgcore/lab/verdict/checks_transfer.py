"""What the thesis states of stencils and images between two grids (§3.1), decided by computing.

Every check here is listed in :mod:`mgcore.lab.verdict.checks`, beside those on the classifier.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from mgcore.data.strokes import stroke_digits
from mgcore.grids import PROLONGATIONS, prolong, restrict
from mgcore.kernels import refine_kernel
from mgcore.lab.verdict.agreement import interval
from mgcore.lab.verdict.checks_background import ROUNDING, Finding, size
from mgcore.operators import OPERATORS, from_operators, rediscretise, to_operators
from mgcore.thesis.network import STENCILS, feature_maps, initial_weights, refine_weights

COARSE = 14  # cells along a side of the coarse grid (§3.1.1)


def seeded(number: int) -> Callable[..., Tensor]:
    """Return a source of normal random numbers of its own: equal seeds, equal numbers."""
    generator = torch.Generator().manual_seed(number)
    return partial(torch.randn, generator=generator, dtype=torch.float64)


def relative(found: Tensor, wanted: Tensor) -> float:
    """Return the distance of two tensors over the size of the second."""
    return float((found - wanted).norm() / wanted.norm())


def galerkin_stencil(stencil: Tensor, kind: str) -> Tensor:
    """Return the stencil of R K P on a periodic grid, from what the product makes of one cell.

    Parameters
    ----------
    stencil : Tensor, shape (w, w)
        w odd, at most 9; float64.
    kind : {"bilinear", "constant"}

    Returns
    -------
    Tensor, shape (v, v)
        v the least odd width that holds it, whatever it is.
    """
    cells, reach = 24, stencil.shape[-1] // 2
    unit = torch.zeros(1, 1, cells, cells, dtype=stencil.dtype)
    unit[..., cells // 2, cells // 2] = 1.0
    padded = F.pad(prolong(unit, kind, boundary="periodic"), (reach,) * 4, mode="circular")
    response = restrict(F.conv2d(padded, stencil[None, None]))[0, 0]
    # Correlation: a cell's influence on its neighbours is the stencil read backwards.
    rows, columns = torch.nonzero(response.abs() > ROUNDING, as_tuple=True)
    far = int(torch.cat([rows, columns]).sub(cells // 2).abs().max())
    window = slice(cells // 2 - far, cells // 2 + far + 1)
    return response[window, window].flip(0, 1)


def coarse_stencil_size() -> Finding:
    """Whether the coarse stencil has the size of the fine one, n_k × n_k (thesis §3.1.2).

    Measured for random stencils of 3, 5 and 7 cells.  Reproduced if all keep their size,
    corrected if those of 3 cells do, with both prolongations, and others do not.
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
    """Whether the coarse operator is an algebraic one, unlike the geometric (thesis §3.1.2).

    R K P is compared with the same differential operators discretised on the coarse grid.
    Corrected if the two are equal for bilinear P in the basis with the mass stencil [1 4 1]/6,
    reproduced if not.
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
    """Whether x²ʰ = R xʰ and xʰ = P x²ʰ can hold together (thesis (3.3)).

    For all images that is R P = I and P R = I.  Reproduced if some P has both, corrected if some
    P has the first, not reproduced otherwise.
    """
    n = 2 * COARSE
    coarse, fine = (torch.eye(m, dtype=torch.float64) for m in (COARSE, n))
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
    """Whether K²ʰ y = R Kʰ P y, for one linear layer and for the network (thesis (3.4)–(3.5)).

    A random network at 14×14, refined, sees the prolonged digits; zeros lie beyond the edge.
    Not reproduced if the linear layer fails inside for some P; reproduced if everything holds to
    the edge and after the second ReLU; corrected in between.
    """
    y = restrict(stroke_digits(3, 2 * COARSE, dtype=torch.float64)[0])[:, None]
    coarse = initial_weights(COARSE, False, torch.Generator().manual_seed(4), stencil_scale="he")
    wanted, negative = (F.conv2d(x, coarse[STENCILS[0]], padding=1) for x in (y, 1 - y))
    inside, at_edge, after = {}, {}, {}
    for kind in PROLONGATIONS:
        fine, x = refine_weights(coarse, COARSE, prolongation=kind), prolong(y, kind)
        found = restrict(F.conv2d(x, fine[STENCILS[0]], padding=1))
        inside[kind] = float((found - wanted)[..., 1:-1, 1:-1].abs().max())
        # A digit has no ink at its edge; white paper on black shows what the edge spoils.
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
    """Whether piecewise constant images make the transfer of stencils worse (thesis ch. 5).

    Only one part of the statement can be computed without training: how far the coarse layer is
    from the restricted fine one, e(x) = ‖R Kʰ x − K²ʰ R x‖ / ‖K²ʰ R x‖, on images x that never saw
    the coarse grid.  Drawn digits are compared with the same digits thresholded at one half, for
    forty random stencils (combinations of the value, slopes and curvatures) refined with bilinear
    P.  Criterion, fixed before any value was seen: with the 95 % interval, over stencils, of the
    geometric mean of e(thresholded)/e(smooth), reproduced if all of it is above 1.1, reversed if
    all of it is below 1/1.1, not reproduced otherwise.
    """
    digits, _ = stroke_digits(30, 2 * COARSE, dtype=torch.float64)
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
