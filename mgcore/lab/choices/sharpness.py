"""Accuracy of trained networks while the high frequencies of images are faded out and in.

A trained network classifies x_t = P R x + t (x − P R x): at t = 0 the smoothed images P R x of its
training, at t = 1 the original images.  No weight changes with t, so a change of accuracy is
caused by the part of an image that P R removes.  As a control, other perturbations of the same norm
are added to P R x.  A record stores no weights, so its trials are run
again, and each rerun must agree with the record.  ``python -m mgcore sharpness
book/records/sharpness`` makes the book's files, on MNIST.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np
import torch
from torch import Tensor

from mgcore.data.images import Digits, normalise, prepare
from mgcore.grids import prolong, restrict
from mgcore.lab.protocol import Protocol
from mgcore.lab.records.checkpoints import default_cache
from mgcore.lab.records.files import RecordError, read_json, records_folder
from mgcore.lab.records.record import Record
from mgcore.lab.records.schema import Trial
from mgcore.lab.run.fingerprint import digest, fingerprint_of
from mgcore.lab.run.pending import run_missing
from mgcore.lab.run.workers import settled_within
from mgcore.lab.trial.trial import KeptTrial, run_trial
from mgcore.lab.verdict.agreement import rounding_spread, same_seeds
from mgcore.thesis.objective import evaluate

STUDY = "baseline-prolonged"
TIERS = ("paper", "class")  # of which the first with LEAST trials is shown
LEAST = 5
CONDITIONS = ("transfer", "multigrid")  # copied and Galerkin initialisation
BETWEEN = tuple(k / 20 for k in range(21))  # from the smoothed to the original images
STEPS = (-0.5, -0.25, *BETWEEN, 1.25, 1.5)  # t
# What is added to P R x, by image with the norm of x − P R x.  Expected before the first run:
# Galerkin networks lose more accuracy than copied ones where P R removes the perturbation (the
# first three), and not where P R keeps it.
PERTURBATIONS = {
    "removed": "the part x − P R x that P R removes from the image",
    "exchanged": "this part of another image",
    "rough": "the part that P R removes from white noise",
    "smooth": "white noise on the coarse grid, prolonged",
}
SHOWN = 0  # the trial whose answers to ten digits are kept
LEVELS = 1000  # the value that stands for probability 1


class PackedArray(TypedDict):
    """An array of integers as JSON: its shape, its type, and base64 of the deflated bytes."""

    shape: list[int]
    dtype: str
    deflated: str


class Answers(TypedDict):
    """What two networks answer to ten digits, the first of each class in the validation set.

    ``indices`` of the digits in the data set, by class; ``pixels`` (10, n, n) from 0 to 255; and
    ``probabilities`` (conditions, steps, digits, classes) in thousandths.
    """

    indices: list[int]
    pixels: PackedArray
    probabilities: PackedArray


def pack(values: np.ndarray) -> PackedArray:
    """Return an array of integers as a JSON value.

    Examples
    --------
    >>> unpack(pack(np.array([[0, 7], [1000, 3]], dtype=np.uint16))).tolist()
    [[0, 7], [1000, 3]]
    """
    little = values.astype(values.dtype.newbyteorder("<"))
    deflated = base64.b64encode(zlib.compress(little.tobytes(), 9)).decode("ascii")
    return {"shape": list(values.shape), "dtype": little.dtype.str, "deflated": deflated}


def unpack(packed: PackedArray) -> np.ndarray:
    """Return the array that :func:`pack` was given."""
    data = zlib.decompress(base64.b64decode(packed["deflated"]))
    return np.frombuffer(data, np.dtype(packed["dtype"])).reshape(packed["shape"])


def blend(smoothed: Tensor, original: Tensor, t: float) -> Tensor:
    """Return x_t = P R x + t (x − P R x), which is exact at t = 0 and t = 1."""
    return torch.lerp(smoothed, original, t)


def _both_preparations(protocol: Protocol, kept: KeptTrial) -> tuple[Tensor, Tensor]:
    """Return P R x and x for the validation images, normalised, shape (count, 1, n, n)."""
    dtype = kept.fine_images.validation.dtype
    pixels = kept.digits.select(kept.indices[2], dtype)
    original = normalise(pixels, protocol.normalisation, dtype)
    return prepare(original, "prolonged", protocol.prolongation), original


def accuracy_by_sharpness(
    protocol: Protocol, kept: KeptTrial, steps: Sequence[float] = STEPS
) -> dict[str, list[float]]:
    """Return the validation accuracy of both trained networks at every step of sharpness.

    Parameters
    ----------
    protocol : Protocol
    kept : KeptTrial
        From :func:`mgcore.lab.trial.trial.run_trial` with :data:`CONDITIONS`.
    steps : sequence of float
        Values of t.

    Returns
    -------
    dict of list of float
        By condition, in percent of all validation images.
    """
    smoothed, original = _both_preparations(protocol, kept)
    objective, labels = protocol.objective("fine"), kept.fine_images.validation_labels
    accuracy: dict[str, list[float]] = {condition: [] for condition in CONDITIONS}
    for t in steps:
        images = blend(smoothed, original, t)
        for condition, values in accuracy.items():
            weights = kept.phases[condition].weights
            values.append(evaluate(objective, weights, images, labels)["accuracy"])
    return accuracy


def perturbations(smoothed: Tensor, original: Tensor, prolongation: str, seed: int) -> list[Tensor]:
    """Return a perturbation of every kind of :data:`PERTURBATIONS`, each as large as x − P R x.

    Parameters
    ----------
    smoothed, original : Tensor, shape (count, 1, n, n)
        P R x and x.
    prolongation : {"bilinear", "constant"}
    seed : int
        Of the white noise.

    Returns
    -------
    list of Tensor, shape (count, 1, n, n)
        Image by image with the Euclidean norm of x − P R x.
    """
    draws = torch.Generator().manual_seed(seed)
    noise = torch.randn(original.shape, generator=draws, dtype=torch.float64).to(original)
    removed = original - smoothed
    kinds = {
        "removed": removed, "exchanged": removed.roll(1, 0),
        "rough": noise - prolong(restrict(noise), prolongation),
        "smooth": prolong(restrict(noise), prolongation),
    }  # fmt: skip
    norm = removed.flatten(1).norm(dim=1)
    return [
        kinds[name] * (norm / kinds[name].flatten(1).norm(dim=1)).reshape(-1, 1, 1, 1)
        for name in PERTURBATIONS
    ]


def accuracy_by_perturbation(
    protocol: Protocol, kept: KeptTrial, trial: int
) -> dict[str, dict[str, float]]:
    """Return the validation accuracy in percent by condition and kind of perturbation."""
    smoothed, original = _both_preparations(protocol, kept)
    objective, labels = protocol.objective("fine"), kept.fine_images.validation_labels
    added = perturbations(smoothed, original, protocol.prolongation, trial)
    return {
        condition: {
            name: evaluate(
                objective, kept.phases[condition].weights, smoothed + change, labels
            )["accuracy"]
            for name, change in zip(PERTURBATIONS, added, strict=True)
        }
        for condition in CONDITIONS
    }  # fmt: skip


@torch.no_grad()
def answers_by_sharpness(
    protocol: Protocol, kept: KeptTrial, steps: Sequence[float] = STEPS
) -> Answers:
    """Return the class probabilities of ten digits at every step of sharpness.

    The digits are the first of each class in the order of the validation set.

    Parameters
    ----------
    protocol, kept, steps
        As for :func:`accuracy_by_sharpness`.

    Raises
    ------
    ValueError
        If the validation set lacks a class.
    """
    labels = kept.fine_images.validation_labels.tolist()
    if missing := sorted(set(range(10)) - set(labels)):
        raise ValueError(f"The validation set has no image of {missing}. Use more images.")
    places = [labels.index(digit) for digit in range(10)]
    smoothed, original = (images[places] for images in _both_preparations(protocol, kept))
    objective = protocol.objective("fine")
    probabilities = torch.stack([
        torch.stack([
            objective.logits(kept.phases[condition].weights, blend(smoothed, original, t))
            .double().softmax(dim=1)
            for t in steps
        ])
        for condition in CONDITIONS
    ])  # (conditions, steps, digits, classes)  # fmt: skip
    indices = kept.indices[2][places]
    pixels = (255 * kept.digits.select(indices, torch.float64)).round()
    return {
        "indices": indices.tolist(),
        "pixels": pack(pixels.numpy().astype(np.uint8)),
        "probabilities": pack((LEVELS * probabilities).round().numpy().astype(np.uint16)),
    }


def sharpness(
    record: Record, trial: int, cache: Path | None, digits: Digits | None = None
) -> dict[str, Any]:
    """Run a recorded trial again and measure its networks at every step of sharpness.

    Parameters
    ----------
    record : Record
        Of a study whose fine networks are trained by SGD alone.
    trial : int
    cache : Path or None
        Folder for checkpoints.  The trained networks stay there, so that another analysis of them
        needs no training.
    digits : Digits, optional
        The pool to draw from, instead of the protocol's data set.

    Returns
    -------
    dict
        What is written to a file: ``study``, ``trial``, ``protocol``; ``agreement``, how the rerun
        compares with the record; ``steps`` and by condition ``accuracy``, the validation accuracy
        in percent at each step, ``perturbed``, the same for each perturbation, and ``training``,
        the training accuracy after the last epoch.
        For trial :data:`SHOWN` also ``answers``.

    Raises
    ------
    RecordError
        If the rerun does not agree with the record.
    """
    protocol = record.protocol
    code = {
        "coarse": digest(fingerprint_of(protocol, "coarse")),
        "fine": digest(fingerprint_of(protocol)),
    }
    with settled_within():
        result = run_trial(
            protocol, trial, cache=cache, code=code, conditions=CONDITIONS, digits=digits
        )
        recorded = record.trial(trial)
        metrics = {name: recorded["metrics"][name] for name in result["metrics"]}
        rerun: Trial = {"trial": trial, "metrics": result["metrics"]}
        outcome = same_seeds([rerun], [{**recorded, "metrics": metrics}], rounding_spread(protocol))
        if not outcome.agrees:
            raise RecordError(
                f"The rerun does not agree with trial {trial} of {record.folder} "
                f"({outcome.sentence.removesuffix('.')}). Use the data and the code of the record."
            )
        kept = result["kept"]
        content: dict[str, Any] = {
            "study": record.folder.name,
            "trial": trial,
            "protocol": protocol.key(),
            "agreement": outcome.sentence,
            "steps": list(STEPS),
            "accuracy": accuracy_by_sharpness(protocol, kept),
            "perturbed": accuracy_by_perturbation(protocol, kept, trial),
            "training": {
                condition: result["metrics"][condition][-1]["training_accuracy"]
                for condition in CONDITIONS
            },
        }
        if trial == SHOWN:
            content["answers"] = answers_by_sharpness(protocol, kept)
    return content


def sweep_file(folder: Path, tier: str, trial: int) -> Path:
    """Return the file of one trial's sweep."""
    return folder / f"{tier}-{trial:03d}.json"


def run_sharpness(
    folder: Path, tier: str = "paper", trials: int | None = None, workers: int | None = None
) -> None:
    """Write a file for each of the record's first trials that the folder does not hold yet.

    Parameters
    ----------
    folder : Path
    tier : str
        One of :data:`TIERS`.
    trials : int, optional
        By default all that the record of :data:`STUDY` has.
    workers : int, optional
        As in :func:`mgcore.lab.run.workers.run_parallel`.
    """
    record = Record(records_folder() / f"{STUDY}-{tier}")
    cache = default_cache()
    numbers = record.numbers()[:trials]
    jobs = [(sweep_file(folder, tier, number), (record, number, cache)) for number in numbers]
    for one in run_missing(sharpness, jobs, workers):
        print(f"trial {one['trial']}: {one['agreement']}", flush=True)


class Sweep(NamedTuple):
    """The recorded sweeps of all trials of one study.

    Attributes
    ----------
    study : str
        The record of the trials.
    steps : ndarray, shape (k,)
        Values of t.
    accuracy : dict of ndarray, shape (trials, k)
        By condition, in percent.
    perturbed : dict of dict of ndarray, shape (trials,)
        By condition and kind of perturbation, in percent.
    trials : list of int
    answers : Answers
        Of trial :data:`SHOWN`.
    """

    study: str
    steps: np.ndarray
    accuracy: dict[str, np.ndarray]
    perturbed: dict[str, dict[str, np.ndarray]]
    trials: list[int]
    answers: Answers

    def at(self, condition: str, t: float) -> np.ndarray:
        """Return the accuracies of a condition at one recorded step, one a trial."""
        return self.accuracy[condition][:, int(np.flatnonzero(self.steps == t)[0])]


def read_sharpness(folder: Path) -> Sweep:
    """Return the recorded sweeps of one tier.

    It is the first of :data:`TIERS` with at least :data:`LEAST` trials, or else the tier with most.

    Raises
    ------
    RecordError
        If a file is damaged, or the sweep of trial :data:`SHOWN` is missing.
    """
    files = {tier: sorted(folder.glob(f"{tier}-*.json")) for tier in TIERS}
    enough = (tier for tier in TIERS if len(files[tier]) >= LEAST)
    tier = next(enough, max(TIERS, key=lambda tier: len(files[tier])))
    shown = read_json(sweep_file(folder, tier, SHOWN))
    contents = [read_json(file) for file in files[tier]]
    return Sweep(
        shown["study"],
        np.array(shown["steps"]),
        {name: np.array([c["accuracy"][name] for c in contents]) for name in CONDITIONS},
        {
            name: {
                kind: np.array([c["perturbed"][name][kind] for c in contents])
                for kind in PERTURBATIONS
            }
            for name in CONDITIONS
        },
        [content["trial"] for content in contents],
        shown["answers"],
    )
