"""One network on several grids, with shared weights (beyond the thesis).

The weights on a coarser grid are linear functions of the weights on the finest grid: R K P of every
kernel, or a copy of it, and the restricted dense layers.  A loss on any grid is therefore a
differentiable function of the finest weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from mgcore.grids import restrict
from mgcore.refinement.module import coarsen
from mgcore.refinement.rules import apply, decide

Loss = Callable[[Tensor, Tensor], Tensor]


class Hierarchy:
    """A network and its versions on coarser grids.

    Parameters
    ----------
    model : Module
        The network on the finest grid.  It is not copied: training it changes all grids.
    input_shape : sequence of int
        (channels, *grid) of an input; `depth` halvings must leave every grid axis an integer.
    depth : int
        Number of coarser grids.
    stencils, prolongation
        As for :func:`mgcore.refinement.module.coarsen`.

    Notes
    -----
    Each grid keeps its own running statistics of batch normalisation.

    Examples
    --------
    >>> import torch
    >>> grids = Hierarchy(nn.Conv2d(1, 1, 3, padding=1, bias=False), (1, 8, 8), depth=1)
    >>> grids(torch.zeros(1, 1, 4, 4), level=1).shape
    torch.Size([1, 1, 4, 4])
    """

    def __init__(
        self,
        model: nn.Module,
        input_shape: Sequence[int],
        depth: int = 1,
        *,
        stencils: str = "galerkin",
        prolongation: str = "bilinear",
    ) -> None:
        if not isinstance(depth, int) or depth < 0:
            raise ValueError(f"depth must be a number of coarser grids, 0 or more, got {depth!r}.")
        self.models, self.shapes, self.links = [model], [tuple(input_shape)], []
        self.prolongation = prolongation
        self._slots = _slots(model)
        for _ in range(depth):
            here = self.shapes[-1]
            coarse = coarsen(self.models[-1], here, stencils=stencils, prolongation=prolongation)
            there = (here[0], *(n // 2 for n in here[1:]))
            plan = decide(self.models[-1], here, there, stencils, prolongation)
            self.links.append({name: change for name, (_, change) in plan.items() if change.axes})
            self.models.append(coarse)
            self.shapes.append(there)

    @property
    def depth(self) -> int:
        """Number of coarser grids."""
        return len(self.links)

    def weights(self, level: int) -> dict[str, Tensor]:
        """Return the parameters on a grid (0: the finest) as functions of the finest parameters."""
        weights: dict[str, Tensor] = dict(self.models[0].named_parameters())
        for links in self.links[:level]:
            weights = {
                name: apply(links[name], w, self.prolongation) if name in links else w
                for name, w in weights.items()
            }
        return weights

    def __call__(self, images: Tensor, level: int = 0) -> Tensor:
        """Return the outputs for images on the grid `level`."""
        if level == 0:
            return self.models[0](images)
        self.models[level].train(self.models[0].training)
        weights = self.weights(level)
        slots = {slot: weights[name] for slot, name in self._slots.items()}
        # torch's own tie_weights would write twice to a module that has two names, and then restore
        # the wrong tensor.
        return functional_call(self.models[level], slots, (images,), tie_weights=False)

    def restricted(self, images: Tensor, level: int) -> Tensor:
        """Return images of the finest grid, restricted to the grid `level`."""
        for _ in range(level):
            images = restrict(images, len(self.shapes[0]) - 1)
        return images

    def loss(self, images: Tensor, labels: Tensor, level: int, loss: Loss) -> Tensor:
        """Return the loss of images of the finest grid on the grid `level`.

        Parameters
        ----------
        images : Tensor, shape (count, channels, *grid)
            On the finest grid.
        labels : Tensor, shape (count, ...)
            Where they are maps, as many times finer than the outputs as the finest grid is finer
            than `level`, they are restricted as the images are.
        level : int
        loss : callable
            From outputs and labels to their mean loss.

        Raises
        ------
        ValueError
            If maps would have to be restricted that hold integers.
        """
        outputs = self(self.restricted(images, level), level)
        axes = len(self.shapes[0]) - 1
        finer = tuple(n * 2**level for n in outputs.shape[-axes:])
        if level and labels.ndim > axes and outputs.ndim > axes and labels.shape[-axes:] == finer:
            if not labels.is_floating_point():
                raise ValueError(
                    f"labels are maps of {labels.dtype}, whose classes have no mean over cells. "
                    "Pass class probabilities: F.one_hot(labels).movedim(-1, 1).float()."
                )
            labels = self.restricted(labels, level)
        return loss(outputs, labels)

    def cells(self, level: int) -> float:
        """Return the cost of an image on a grid: its cells as a share of the finest grid's."""
        return 0.5 ** (level * (len(self.shapes[0]) - 1))


def _slots(model: nn.Module) -> dict[str, str]:
    """Return, for each place that holds a parameter, the parameter's first name.

    A module with two names is one place; a parameter of two modules has two.
    """
    names = {id(p): name for name, p in model.named_parameters()}
    return {
        f"{path}.{own}" if path else own: names[id(p)]
        for path, module in model.named_modules()
        for own, p in module.named_parameters(recurse=False, remove_duplicate=False)
    }


def joint_loss(
    grids: Hierarchy,
    images: Tensor,
    labels: Tensor,
    shares: Sequence[float] | None = None,
    loss: Loss = F.cross_entropy,
) -> Tensor:
    """Return the weighted mean of the losses of the same images on all grids.

    Parameters
    ----------
    grids : Hierarchy
    images : Tensor, shape (count, channels, *grid)
        On the finest grid.
    labels : Tensor, shape (count, ...)
        Maps are restricted with the images, see :meth:`Hierarchy.loss`.
    shares : sequence of float, optional
        Weight of each grid, the finest first; by default equal weights of sum 1.
    loss : callable
        Mean over the images.

    Returns
    -------
    Tensor
        A scalar.  Every grid contributes to its gradient with respect to the finest weights.
    """
    shares = [1 / (1 + grids.depth)] * (1 + grids.depth) if shares is None else list(shares)
    if len(shares) != 1 + grids.depth:
        raise ValueError(
            f"shares must be {1 + grids.depth} numbers, one for each grid, got {shares}."
        )
    terms = [share * grids.loss(images, labels, level, loss) for level, share in enumerate(shares)]
    return sum(terms[1:], terms[0])


def multilevel_loss(
    grids: Hierarchy,
    batches: Sequence[tuple[Tensor, Tensor]],
    loss: Loss = F.cross_entropy,
) -> Tensor:
    """Return the telescoping sum whose gradient estimates the finest grid's.

    With L_l the loss on grid l, it is Σ_l [L_l(batch l) − L_{l+1}(batch l)], without a second term
    on the coarsest grid; both losses of a pair use the same images.  If all batches are drawn from
    the same distribution, all terms but L_0 cancel in expectation.  Where the two losses of a pair
    are close, few fine and many coarse images suffice (multilevel Monte Carlo: Ahamed,
    Zakariaei, Haber and Eliasof, TMLR 2026).

    Parameters
    ----------
    grids : Hierarchy
    batches : sequence of (images, labels)
        One for each grid, the finest first; all images, and labels that are maps, on the finest
        grid.
    loss : callable
        Mean over the images of a batch.

    Returns
    -------
    Tensor
        A scalar, which may be negative.

    Raises
    ------
    ValueError
        If the number of batches is not the number of grids.
    """
    if len(batches) != 1 + grids.depth:
        raise ValueError(
            f"batches must be {1 + grids.depth}, one for each grid, the finest first; "
            f"got {len(batches)}."
        )
    total: Tensor | None = None
    for level, (images, labels) in enumerate(batches):
        term = grids.loss(images, labels, level, loss)
        if level < grids.depth:
            term = term - grids.loss(images, labels, level + 1, loss)
        total = term if total is None else total + term
    assert total is not None  # there is at least one grid
    return total
