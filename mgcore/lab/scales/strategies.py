"""Training strategies: how a budget is divided between a coarse and a fine grid.

The thesis compares initialisations at equal epochs on the fine grid and does not charge for
training on the coarse one.  Here every strategy has the same budget, in images of the fine grid: an
image that is coarse along k axes costs 2⁻ᵏ.

The keys of the tables below are the names in the records of :mod:`mgcore.lab.scales.work_grid`.
"""

from __future__ import annotations

from dataclasses import dataclass

from mgcore.lab.scales.kernel_maps import (
    KernelMap,
    clipped_galerkin,
    geometric,
    partial_galerkin,
)
from mgcore.train.budgeted import Scheme


def half_of_the_steps(coarse_axes: int) -> float:
    """Return the share of the work that half of the steps take on a grid with coarse axes.

    Half of the steps at half the size is the default of progressive resizing in MosaicML's
    Composer; in two dimensions it is a fifth of the work.
    """
    cost = 0.5**coarse_axes
    return cost / (cost + 1)


COARSE_SHARE = half_of_the_steps(2)
BATCH = 32
MULTILEVEL = Scheme("multilevel", (8, 32))  # fine and coarse images of a step


@dataclass(frozen=True)
class Strategy:
    """How a budget is divided between two grids, and how weights are transferred between them.

    Attributes
    ----------
    coarse_share : float
        Share of the work spent on the coarse grid first; 0 starts on the fine grid.
    coarse_axes : tuple of int
        Grid axes that have half the cells on the coarse grid.
    stencils, prolongation : str
        How weights are transferred, as in :func:`mgcore.refinement.module.refine`.
    scheme : Scheme
        What one step on the fine grid is computed from.
    kernel_map : callable, optional
        Applied to each 3×3 kernel after the transfer, see :mod:`mgcore.lab.scales.kernel_maps`.
    penalty : float
        Weight of :func:`mgcore.lab.scales.kernel_maps.galerkin_growth` on the coarse grid.
    warmup : int
        Steps on the fine grid over which the learning rate rises.
    coarse_batch : int
        Images of a step on the coarse grid.  Its learning rate is proportional to them (Goyal et
        al. 2017): it is multiplied by `coarse_batch` / :data:`BATCH`.
    """

    coarse_share: float = COARSE_SHARE
    coarse_axes: tuple[int, ...] = (0, 1)
    stencils: str = "galerkin"
    prolongation: str = "bilinear"
    scheme: Scheme = Scheme(batches=(BATCH,))
    kernel_map: KernelMap | None = None
    penalty: float = 0.0
    warmup: int = 0
    coarse_batch: int = BATCH


FINE_ONLY = Strategy(coarse_share=0.0)
STRATEGIES: dict[str, Strategy] = {
    "fine only": FINE_ONLY,
    "copied": Strategy(stencils="copy"),
    "Galerkin, bilinear": Strategy(),
    "Galerkin, constant": Strategy(prolongation="constant"),
    "joint": Strategy(coarse_share=0.0, scheme=Scheme("joint", (BATCH,))),
    "multilevel, copied": Strategy(
        stencils="copy", scheme=Scheme("multilevel", MULTILEVEL.batches, stencils="copy")
    ),
    "multilevel, Galerkin": Strategy(scheme=MULTILEVEL),
}
# Changes that might let the Galerkin transfer train better.
GALERKIN_VARIANTS: dict[str, Strategy] = {
    "a quarter of the way": Strategy(stencils="copy", kernel_map=partial_galerkin(0.25)),
    "half of the way": Strategy(stencils="copy", kernel_map=partial_galerkin(0.5)),
    "clipped at 4": Strategy(stencils="copy", kernel_map=clipped_galerkin(4.0)),
    "geometric": Strategy(stencils="copy", kernel_map=geometric),
    "roughness penalised": Strategy(penalty=1e-3),
    "learning rate warmed": Strategy(warmup=50),
}
# As Wu et al. (CVPR 2020) do: the images of a step have equally many cells on both grids.
LARGER_BATCH = "copied, larger coarse batch"
BATCH_STRATEGIES: dict[str, Strategy] = {
    LARGER_BATCH: Strategy(coarse_batch=4 * BATCH, stencils="copy")
}
# Films have the axes (frames, rows, columns).
FILM_AXES: dict[str, tuple[int, ...]] = {"space": (1, 2), "time": (0,), "both": (0, 1, 2)}
FILM_STRATEGIES: dict[str, Strategy] = {"fine only": FINE_ONLY} | {
    f"{name}, {stencils}": Strategy(half_of_the_steps(len(axes)), axes, stencils)
    for name, axes in FILM_AXES.items()
    for stencils in ("copy", "galerkin")
}
# Of a network from maps to maps.  As in the full multiscale training of Ahamed et al. (TMLR 2026),
# who report 4 to 16 times less work, the multilevel gradient begins after the coarse steps; it is a
# sum over three grids.
DENOISING_STRATEGIES: dict[str, Strategy] = {
    name: STRATEGIES[name] for name in ("fine only", "copied", "Galerkin, bilinear")
} | {
    f"multilevel, {name}": Strategy(
        stencils=stencils, scheme=Scheme("multilevel", (8, 32, 128), stencils=stencils)
    )
    for name, stencils in (("copied", "copy"), ("Galerkin", "galerkin"))
}
