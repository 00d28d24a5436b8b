"""Predictions from the explanation of the gap, fixed before their outcomes.

The explanation: the Galerkin condition amplifies what P R removes from an image, and training on
smoothed images P R x leaves that response unconstrained.  Then one number decides how much accuracy
a trained network loses when it classifies other images y instead of P R x, the *disturbance* of the
first layer,

    δ(y) = ‖K (y − P R x)‖ / ‖K P R x‖,

where K are kernels of the initialisation.  It needs no training.  A sweep over
x_t = P R x + t (x − P R x), for which δ is proportional to t, gives the loss of accuracy as a
function of δ in one setting (:data:`BASE`); the same function, read at the disturbance of another
setting, is the prediction for that setting.

A prediction has one curve for each initialisation, so that it does not test whether δ alone decides
across initialisations; :func:`losses_at_equal_disturbance` does.

The order matters: ``base`` runs the sweep, ``predict`` writes the predictions, which are committed,
and ``outcomes`` runs the settings.  ``predict`` refuses to run once an outcome exists.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from mgcore.data.images import normalise, prepare
from mgcore.kernels import refine_kernel
from mgcore.lab.choices.demonstration import DEMONSTRATION
from mgcore.lab.choices.sharpness import CONDITIONS, STEPS, accuracy_by_sharpness
from mgcore.lab.protocol import Protocol
from mgcore.lab.records.files import RecordError, read_json, write_json
from mgcore.lab.run.pending import run_missing
from mgcore.lab.run.workers import settled_within
from mgcore.lab.trial.trial import draw_split, run_trial
from mgcore.lab.verdict.agreement import interval
from mgcore.thesis.objective import evaluate

BASE = DEMONSTRATION  # 8×8 to 16×16 stroke digits, fine training on smoothed images
BASE_TRIALS = 20
TRIALS = 10  # of each setting, other trials than those of the base
FIRST = 100  # the number of their first trial
LEAST = 5  # trials of a setting that are shown
KERNELS = 256  # random kernels over which δ is averaged


class Setting(NamedTuple):
    """A setting whose loss of accuracy is predicted.

    Attributes
    ----------
    text : str
        What is different from the base.
    protocol : Protocol
    blur : bool
        Whether the classified images are x filtered by [1 2 1]/4 along each axis, instead of x.
    """

    text: str
    protocol: Protocol
    blur: bool = False


SETTINGS = {
    "blurred": Setting("images filtered by [1 2 1]/4 along each axis", BASE, blur=True),
    "constant": Setting("constant P", BASE.changed(prolongation="constant")),
    "resolution-24": Setting("12×12 to 24×24 cells", BASE.changed(resolution=24)),
    "resolution-32": Setting("16×16 to 32×32 cells", BASE.changed(resolution=32)),
    "resolution-56": Setting("28×28 to 56×56 cells", BASE.changed(resolution=56)),
}


def blurred(images: Tensor) -> Tensor:
    """Return images filtered by [1 2 1]/4 along each axis, edges continued.

    Parameters
    ----------
    images : Tensor, shape (count, 1, n, n)
    """
    line = torch.tensor([0.25, 0.5, 0.25], dtype=images.dtype)
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1), mode="replicate")
    return conv2d(padded, torch.outer(line, line).reshape(1, 1, 3, 3))


def disturbance(images: Tensor, smoothed: Tensor, condition: str, prolongation: str) -> float:
    """Return δ, the relative change of the first layer's responses from P R x to other images.

    Parameters
    ----------
    images, smoothed : Tensor, shape (count, 1, n, n)
    condition : {"transfer", "multigrid"}
        Copied kernels, or kernels refined by the Galerkin condition; both from kernels with
        independent normal entries.
    prolongation : {"bilinear", "constant"}

    Returns
    -------
    float
        The root of a quotient of two sums of squares, over images, cells and kernels.
    """
    draws = torch.Generator().manual_seed(0)
    kernels = torch.randn(KERNELS, 1, 3, 3, generator=draws, dtype=torch.float64)
    if condition == "multigrid":
        kernels = refine_kernel(kernels, prolongation)
    change = conv2d(images.double() - smoothed.double(), kernels, padding=1)
    response = conv2d(smoothed.double(), kernels, padding=1)
    return float(change.norm() / response.norm())


def _validation(protocol: Protocol, trial: int, blur: bool) -> tuple[Tensor, Tensor]:
    """Return P R x and the classified images of the validation set, shape (count, 1, n, n)."""
    digits, split = draw_split(protocol, trial)
    pixels = digits.select(split[2], torch.float64)
    original = normalise(pixels, protocol.normalisation, torch.float64)
    smoothed = prepare(original, "prolonged", protocol.prolongation)
    return smoothed, blurred(original) if blur else original


def run_base(trial: int) -> dict[str, Any]:
    """Return the accuracy of both networks of one trial of the base at every step t."""
    with settled_within():
        kept = run_trial(BASE, trial, conditions=CONDITIONS)["kept"]
        return {"steps": list(STEPS), "accuracy": accuracy_by_sharpness(BASE, kept)}


def run_setting(name: str, trial: int) -> dict[str, Any]:
    """Return the accuracies of both networks of one trial on P R x and on the other images."""
    setting = SETTINGS[name]
    chosen = setting.protocol
    with settled_within():
        kept = run_trial(chosen, trial, conditions=CONDITIONS)["kept"]
        smoothed, images = _validation(chosen, trial, setting.blur)
        objective, labels = chosen.objective("fine"), kept.fine_images.validation_labels
        dtype = kept.fine_images.validation.dtype
        return {
            condition: {
                kind: evaluate(objective, kept.phases[condition].weights, x.to(dtype), labels)[
                    "accuracy"
                ]
                for kind, x in (("smoothed", smoothed), ("other", images))
            }
            for condition in CONDITIONS
        }


def base(folder: Path, workers: int | None = None) -> None:
    """Run the missing trials of the base."""
    jobs = [(folder / "base" / f"trial-{k:03d}.json", (k,)) for k in range(BASE_TRIALS)]
    for _ in run_missing(run_base, jobs, workers):
        pass


def predict(folder: Path) -> dict[str, Any]:
    """Write and return the predictions.

    A prediction is the mean over the base's trials of accuracy(t = 0) − accuracy(t = τ), linear
    between the steps, where τ = δ(setting) / δ(base).  Its half-width is that of the 95 % interval
    for the mean of :data:`TRIALS` further trials of the base at τ.  It contains no allowance for
    a wrong explanation.

    Raises
    ------
    RecordError
        If an outcome exists already, or the base is not complete.
    """
    if outcomes := sorted(folder.glob("outcomes/*/*.json")):
        raise RecordError(
            f"{outcomes[0]} exists, and a prediction after its outcome is none. Use a new folder."
        )
    files = sorted((folder / "base").glob("trial-*.json"))
    if len(files) < BASE_TRIALS:
        raise RecordError(
            f"{folder / 'base'} has {len(files)} of {BASE_TRIALS} trials. Run the base first."
        )
    trials = [read_json(file) for file in files]
    found: dict[str, Any] = {}
    for name, setting in SETTINGS.items():
        found[name] = {"text": setting.text, "trials": TRIALS, "drop": {}}
        for condition in CONDITIONS:
            ratio = _disturbance_of(setting, condition) / _disturbance_of(
                Setting("", BASE), condition
            )
            if not 0 <= ratio <= max(STEPS):
                raise RecordError(f"{name}: τ = {ratio:.2f} lies outside the recorded steps.")
            drops = _losses(trials, condition, ratio)
            mean, half = interval(drops)
            assert half is not None
            found[name]["drop"][condition] = {
                "tau": ratio,
                "mean": mean,
                "half": half * float(np.sqrt(1 + len(drops) / TRIALS)),
            }
    write_json(folder / "predictions.json", found)
    return found


def _disturbance_of(setting: Setting, condition: str) -> float:
    smoothed, images = _validation(setting.protocol, 0, setting.blur)
    return disturbance(images, smoothed, condition, setting.protocol.prolongation)


def outcomes(folder: Path, workers: int | None = None) -> None:
    """Run the missing trials of every setting; the predictions must have been written.

    Raises
    ------
    RecordError
        If there are no predictions.
    """
    read_json(folder / "predictions.json")
    jobs = [
        (folder / "outcomes" / name / f"trial-{FIRST + k:03d}.json", (name, FIRST + k))
        for name in SETTINGS
        for k in range(TRIALS)
    ]
    for _ in run_missing(run_setting, jobs, workers):
        pass


class Outcome(NamedTuple):
    """One prediction beside its outcome, in percentage points of accuracy.

    Attributes
    ----------
    setting, condition : str
    tau : float
        The step of the base's sweep with the same disturbance.
    predicted, half : float
        The predicted loss of accuracy and the half-width of its interval.
    observed, spread : float
        Mean over the trials and the half-width of its 95 % interval.
    trials : int
    """

    setting: str
    condition: str
    tau: float
    predicted: float
    half: float
    observed: float
    spread: float
    trials: int

    @property
    def inside(self) -> bool:
        """Return whether the observed mean lies in the predicted interval."""
        return abs(self.observed - self.predicted) <= self.half


def _losses(trials: list[dict[str, Any]], condition: str, t: float) -> list[float]:
    """Return the loss of accuracy from P R x to x_t in each trial of the base, in points."""
    return [
        float(np.interp([0.0, t], one["steps"], one["accuracy"][condition]) @ [1, -1])
        for one in trials
    ]


class Loss(NamedTuple):
    """Loss of accuracy from P R x to x_t in the base, in points: mean and 95 % half-width."""

    condition: str
    t: float
    mean: float
    half: float


def losses_at_equal_disturbance(folder: Path) -> list[Loss]:
    """Return the losses of both initialisations of the base at the disturbance of copied at t = 1.

    If the disturbance alone decided the loss, they would be equal.
    """
    trials = [read_json(file) for file in sorted((folder / "base").glob("trial-*.json"))]
    size = {c: _disturbance_of(Setting("", BASE), c) for c in CONDITIONS}
    found = []
    for condition in CONDITIONS:
        t = size["transfer"] / size[condition]
        mean, half = interval(_losses(trials, condition, t))
        assert half is not None
        found.append(Loss(condition, t, mean, half))
    return found


def read_outcomes(folder: Path) -> list[Outcome]:
    """Return the predictions of settings with at least :data:`LEAST` trials, beside outcomes.

    The half-width of a prediction is that for as many trials as there are.
    """
    rows = []
    for name, prediction in read_json(folder / "predictions.json").items():
        files = sorted((folder / "outcomes" / name).glob("trial-*.json"))
        trials = [read_json(file) for file in files]
        if len(trials) < LEAST:
            continue
        for condition, drop in prediction["drop"].items():
            mean, half = interval(t[condition]["smoothed"] - t[condition]["other"] for t in trials)
            assert half is not None
            fewer = np.sqrt((1 + BASE_TRIALS / len(trials)) / (1 + BASE_TRIALS / TRIALS))
            predicted = (drop["tau"], drop["mean"], drop["half"] * float(fewer))
            numbers = (*predicted, mean, half, len(trials))
            rows.append(Outcome(prediction["text"], condition, *numbers))
    return rows
