"""The protocol of an experiment: every choice, with its source (thesis §3.2–§4.2)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any

from mgcore.data.images import DATASETS, NORMALISATIONS, PREPARATIONS, one_of
from mgcore.grids import PROLONGATIONS
from mgcore.lab.protocol.presets import CHOSEN, SIZES
from mgcore.optimize.trust_region import MAX_RADIUS
from mgcore.thesis.curvature import HESSIANS
from mgcore.thesis.network import PADDINGS, STENCIL_SCALES, map_side
from mgcore.thesis.objective import Objective
from mgcore.thesis.sgd import MOMENTUM_RULES

# How a fine network is initialised, by the thesis's words: randomly, with copied kernels, with
# Galerkin kernels.
CONDITIONS = ("new", "transfer", "multigrid")
CONDITION_NAMES = {"new": "random", "transfer": "copied", "multigrid": "Galerkin"}  # the book's
GRIDS = ("coarse", "fine")
TIERS = ("smoke", "class", "paper")
RETRAININGS = ("sgd", "classifier", "joint")
NEWTONS = ("steihaug", "meganet")

_LEAST = {"seed": 0, "subset": 2}  # the least integers; every other integer is at least 1
_POSITIVE = ("learning_rate", "rate_decay", "smoothness_h", "dct_cutoff", "trust_radius")


def _choice(default: Any, source: str, why: str = "", accepted: tuple[Any, ...] = ()) -> Any:
    """Declare a field: its default, the thesis section or "unstated", and our reason."""
    return field(default=default, metadata={"source": source, "why": why, "accepted": accepted})


def _later(default: Any, source: str, why: str = "", accepted: tuple[Any, ...] = ()) -> Any:
    """Declare a field that was added after the first records: its default changes no key."""
    declared = _choice(default, source, why, accepted)
    declared.metadata = MappingProxyType({**declared.metadata, "later": True})
    return declared


@dataclass(frozen=True)
class Protocol:
    """All choices that determine an experiment: equal protocols give equal numbers.

    Make one with :meth:`printed` or :meth:`calibrated` rather than with the class itself.  The
    metadata of each field give its source: the section of the thesis that states the choice, or
    "unstated" and our reason.  :meth:`sources` lists them.

    Raises
    ------
    ValueError
        If a value is not accepted, or values do not go together.
    """

    name: str = _choice("calibrated", "ours", "which named protocol this began as")
    tier: str = _choice("paper", "ours", "size of the study", TIERS)
    dataset: str = _choice("mnist", "§3", "", tuple(DATASETS))
    seed: int = _choice(0, "unstated", "trial i draws from (seed, i) alone")
    resolution: int = _choice(28, "§3.1.1", "pixels along a side of the fine grid")
    pooling: bool = _choice(False, "§4.2, §4.3", "a 2×2 mean between the convolutions")
    n_coarse: int = _choice(40_000, "§4.1")
    n_fine: int = _choice(10_000, "§4.1")
    n_validation: int = _choice(
        10_000, "unstated", "the rest of MNIST's 60,000 training images; redrawn in each trial"
    )
    coarse_epochs: int = _choice(20, "§4.2")
    fine_epochs: int = _choice(10, "§4.2")
    fine_training: str = _choice(
        "original", "unstated", "(3.3) can be read as x = P R x: 'prolonged'", PREPARATIONS
    )
    fine_validation: str = _choice("original", "unstated", "as fine_training", PREPARATIONS)
    normalisation: str = _choice(
        "unit", "unstated", "both occur in the original package's drivers", NORMALISATIONS
    )
    padding: str = _choice(
        "zeros", "unstated", "§3.2 says circulant, its GPU back end pads with zeros", PADDINGS
    )
    prolongation: str = _choice(
        "bilinear", "§3.1.4", '"weighted averaging"; the package defaults to constant',
        PROLONGATIONS,
    )  # fmt: skip
    classifier_factor: float = _choice(
        0.25, "§3.1.3, corrected", "keeps the logits; the thesis prints 4"
    )
    classifier_bias: bool = _choice(True, "unstated", "the package counts one")
    stencil_scale: str = _choice(
        "flat", "unstated", "0.1 in the package of 2018, √(2/size) from December 2018",
        STENCIL_SCALES,
    )  # fmt: skip
    classifier_scale: float = _choice(0.1, "unstated", "the original package's")
    classifier_clip: float = _choice(0.2, "§3.2.1")
    dct_cutoff: float = _choice(2.0, "unstated", "§3.2.1 reduces a variance, not saying how")
    learning_rate: float = _choice(0.003, "§3.2.1")
    rate_decay: float = _choice(0.5, "§3.2.1")
    batch: int = _choice(32, "§3.2.1", "a last, smaller batch is dropped, as in the package")
    momentum: float = _choice(0.9, "unstated", "0.9 is the original package's default")
    nesterov: bool = _choice(True, "unstated", "the package's default; idle without momentum")
    alpha_theta: float = _choice(2.0**-3, "§3.2.1")
    alpha_fine: float = _choice(2.0**-5, "§3.2.1")
    alpha_coarse: float = _choice(2.0**-3, "§3.2.1", "printed as 4 · 2⁻⁵")
    penalty_scale: float = _choice(
        1.0, "unstated", "multiplies the three α: how the penalties are weighed against the loss"
    )
    smoothness_h: float = _choice(1.0, "unstated", "h of the forward differences")
    retraining: str = _later(
        "sgd", "§4.2, §4.4", "'classifier': the classifier by Newton's method, then both by SGD; "
        "'joint': both stages by Newton's method", RETRAININGS,
    )  # fmt: skip
    newton: str = _later(
        "steihaug", "unstated", "the textbook's CG-Steihaug, or what the package ran under that "
        "name", NEWTONS,
    )  # fmt: skip
    hessian: str = _later("full", "unstated", "of the textbook's method", HESSIANS)
    classifier_epochs: int = _later(5, "§4.4", "an epoch is one outer iteration on all images")
    cg_iterations: int = _later(10, "unstated", "products a subproblem may take; the package's")
    trust_radius: float = _later(1.0, "unstated", "Δ at the start; scipy's default")
    newton_epoch: str = _later(
        "work", "unstated", "of joint training: the work of an epoch of SGD, or one pass over the "
        "images in minibatches", ("work", "pass"),
    )  # fmt: skip
    product_cost: float = _later(2.0, "ours", "gradients that a Hessian product counts for")
    momentum_rule: str = _later(
        "torch", "unstated", "'package': as the thesis's software has it; the velocity keeps the "
        "learning rate of the epoch in which it was made", MOMENTUM_RULES,
    )  # fmt: skip
    subset: int = _choice(
        2_000, "ours", "images, half of them validation, on which the epochs between are measured"
    )
    dtype: str = _choice("float32", "unstated", "arithmetic", ("float32", "float64"))

    def __post_init__(self) -> None:
        """Refuse values with which no study can be run."""
        for item in fields(self):
            value, accepted = getattr(self, item.name), item.metadata["accepted"]
            if accepted and value not in accepted:
                raise ValueError(f"{item.name} must be one of {one_of(accepted)}, got {value!r}.")
            kind = type(item.default)
            if kind is float and type(value) is int:
                value = float(value) if abs(value) < 2**1000 else float("inf")
                object.__setattr__(self, item.name, value)
            elif type(value) is not kind:
                raise ValueError(f"{item.name} must be of type {kind.__name__}, got {value!r}.")
            least = {int: _LEAST.get(item.name, 1), float: 0.0}.get(kind)
            if least is not None and not least <= value < float("inf"):
                raise ValueError(f"{item.name} must be finite and at least {least}, got {value!r}.")
            if item.name in _POSITIVE and not value > 0:
                raise ValueError(f"{item.name} must be greater than 0, got {value!r}.")
        if self.trust_radius > MAX_RADIUS:
            raise ValueError(
                f"trust_radius must be at most {MAX_RADIUS:g}, the largest radius of the method, "
                f"got {self.trust_radius!r}."
            )
        divisor = 4 if self.pooling else 2
        if self.resolution % divisor or self.resolution < 8:
            raise ValueError(
                f"resolution must be at least 8 and a multiple of {divisor} with pooling="
                f"{self.pooling}, because both grids need whole cells, got {self.resolution}."
            )
        only = DATASETS[self.dataset].resolution
        if only not in (None, self.resolution):
            raise ValueError(
                f"resolution must be {only} with dataset={self.dataset!r}, got {self.resolution}."
            )
        if min(self.n_coarse, self.n_fine) < self.batch:
            most = f"n_coarse={self.n_coarse} and n_fine={self.n_fine}"
            raise ValueError(f"batch must be at most {most}, got {self.batch}.")

    @classmethod
    def printed(cls, tier: str = "paper", **changes: Any) -> Protocol:
        """Return the protocol as the thesis prints it, wherever the thesis is consistent.

        Choices that the thesis does not state are those of the original software.
        """
        return cls(**{"name": "printed", **_tier(tier), **changes})

    @classmethod
    def calibrated(cls, tier: str = "paper", **changes: Any) -> Protocol:
        """Return the default protocol, whose unstated choices fit the thesis's tables best.

        :mod:`mgcore.lab.choices.calibration` chose them by the training accuracies of the random
        initialisation alone.
        """
        return cls(**{"name": "calibrated", **CHOSEN, **_tier(tier), **changes})

    def objective(self, grid: str) -> Objective:
        """Return the objective that is minimised on a grid.

        Parameters
        ----------
        grid : {"coarse", "fine"}

        Raises
        ------
        ValueError
            If there is no such grid.
        """
        check_grid(grid)
        fine = grid == "fine"
        return Objective(
            resolution=self.resolution if fine else self.resolution // 2,
            pooling=self.pooling,
            padding=self.padding,
            alpha_theta=self.penalty_scale * self.alpha_theta,
            alpha_w=self.penalty_scale * (self.alpha_fine if fine else self.alpha_coarse),
            h=self.smoothness_h,
        )

    @property
    def newton_method(self) -> str:
        """The Newton method of retraining, one of :data:`NEWTONS`, or "" if it uses none."""
        return "" if self.retraining == "sgd" else self.newton

    @property
    def coarse_side(self) -> int:
        """Cells along a side of the feature maps that enter the coarse classifier."""
        return map_side(self.resolution // 2, self.pooling)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Any) -> Protocol:
        """Return the protocol from the values of :meth:`to_json`; absent fields take defaults.

        Raises
        ------
        ValueError
            If `values` is not an object, has an unknown field, or a value is not accepted.
        """
        if not isinstance(values, dict):
            raise ValueError(f"A protocol must be an object, got a {type(values).__name__}.")
        unknown = sorted(set(values) - {item.name for item in fields(cls)})
        if unknown:
            raise ValueError(
                f"protocol has the unknown field {unknown[0]!r}. A newer version of mgcore may "
                "have written it."
            )
        return cls(**values)

    def key(self, *names: str) -> str:
        """Return the SHA-256 over the named fields; without arguments, over all but the name.

        A choice that was added to the protocol later enters only where it differs from its default,
        so that older records keep their key.
        """
        values = self.to_json()
        absent = {
            f.name for f in fields(self) if "later" in f.metadata and values[f.name] == f.default
        }
        named = names or tuple(name for name in values if name != "name")
        chosen = [name for name in named if name not in absent]
        text = json.dumps({name: values[name] for name in sorted(chosen)})
        return hashlib.sha256(text.encode()).hexdigest()

    def changed(self, **changes: Any) -> Protocol:
        """Return this protocol with some fields replaced."""
        return replace(self, **changes)

    @classmethod
    def sources(cls) -> list[tuple[str, Any, str, str]]:
        """Return (field, default, source, reason) for every choice."""
        return [(f.name, f.default, f.metadata["source"], f.metadata["why"]) for f in fields(cls)]


def check_grid(grid: str) -> None:
    """Refuse a grid that is neither the coarse nor the fine one.

    Raises
    ------
    ValueError
        If `grid` is not one of :data:`GRIDS`.
    """
    if grid not in GRIDS:
        raise ValueError(f"grid must be one of {one_of(GRIDS)}, got {grid!r}.")


def _tier(tier: str) -> dict[str, Any]:
    """Return the fields that a tier sets."""
    if tier not in TIERS:
        raise ValueError(f"tier must be one of {one_of(TIERS)}, got {tier!r}.")
    return {"tier": tier, **SIZES[tier]}


def _field_table() -> str:
    """Return the fields as numpydoc lists attributes: type, default, source, reason."""
    lines = ["", "Attributes", "----------"]
    for item in fields(Protocol):
        accepted = item.metadata["accepted"]
        kind = f"{{{one_of(accepted)}}}" if accepted else type(item.default).__name__
        lines.append(f"{item.name} : {kind}, default {item.default!r}")
        lines.append(
            "    " + ": ".join(filter(None, (item.metadata[k] for k in ("source", "why"))))
        )
    return "\n".join(f"    {line}".rstrip() for line in lines) + "\n    "


if Protocol.__doc__:  # python -OO removes it
    Protocol.__doc__ = Protocol.__doc__.rstrip() + "\n" + _field_table()
