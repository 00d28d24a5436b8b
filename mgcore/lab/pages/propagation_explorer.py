"""Feature maps of two digits in the three fine networks, before retraining and after each epoch.

The thesis shows feature maps after retraining (Fig. 4.4).  Maps from every epoch separate the
effect of the initialisation from that of retraining.  A record stores no weights, so trial 0 is
run again and its networks are read from the checkpoints between epochs; the rerun must agree with
the record.  ``python -m mgcore propagation book/records/propagation`` makes the book's files, on
MNIST; ``book/tools/propagation_data.py`` makes the explorer's data from them.
"""

from __future__ import annotations

import base64
import tempfile
import zlib
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from mgcore.data.images import Digits
from mgcore.lab.protocol import CONDITIONS
from mgcore.lab.records.checkpoints import load
from mgcore.lab.records.files import RecordError, read_json
from mgcore.lab.records.record import Record, records_folder
from mgcore.lab.records.schema import Trial
from mgcore.lab.run.pending import run_missing
from mgcore.lab.run.workers import one_thread
from mgcore.lab.trial.trial import checkpoint_file, draw_split, grid_images, run_trial
from mgcore.lab.verdict.agreement import same_seeds
from mgcore.thesis.network import feature_maps, forward

STUDIES = ("baseline-original-class", "baseline-prolonged-class")
LAYERS = ("conv1", "conv2")
CHANNELS = 4  # the first of the channels that the record stores for its figures
TRIAL = 0
LEVELS = 255  # the largest value of a map


def snapshots(
    record: Record, cache: Path, digits: Digits | None = None
) -> tuple[dict[str, Any], dict[str, list[dict[str, Tensor]]]]:
    """Run the recorded trial 0 again, and return the weights of each fine network by epoch.

    Parameters
    ----------
    record : Record
        Of a study with trial 0.
    cache : Path
        Folder for checkpoints.  A coarse network found there is reused.  The folder must hold no
        fine network of this trial, since its earlier epochs would be missing.
    digits : Digits, optional
        The pool to draw from, instead of the protocol's data set.

    Returns
    -------
    (trial, weights)
        The trial's result, with ``"agreement"``, a sentence on how it compares with the recorded
        one; and by condition the weights before retraining and after each epoch.

    Raises
    ------
    RecordError
        If the rerun does not agree with the record.
    """
    protocol = record.protocol
    digits, _ = draw_split(protocol, TRIAL, digits)
    found: dict[str, list[dict[str, Tensor]]] = {}

    def begin(name: str) -> None:
        if name != "coarse":
            found[name] = []

    def tick(_: float) -> None:  # a checkpoint is written before each tick
        name = next(reversed(found), None)
        if name is None:  # the coarse network is still being trained
            return
        file = checkpoint_file(cache, protocol, TRIAL, name, "fine", "cpu", None, digits)
        if (checkpoint := load(file, "cpu")) is not None:
            found[name].append(checkpoint.weights)

    with one_thread():  # the order of sums depends on the threads, as does a checkpoint's key
        result = run_trial(protocol, TRIAL, cache=cache, digits=digits, begin=begin, tick=tick)
    again = cast("Trial", {"trial": TRIAL} | result)
    outcome = same_seeds([again], [record.trial(TRIAL)])
    if not outcome.agrees:
        raise RecordError(
            f"The rerun does not agree with trial {TRIAL} of {record.folder} "
            f"({outcome.sentence.removesuffix('.')}). Use the data and the code of the record."
        )
    dtype = getattr(torch, protocol.dtype)
    for condition in CONDITIONS:
        start = result["kept"].starts[condition]
        found[condition].insert(0, {name: w.to(dtype) for name, w in start.items()})
        if len(found[condition]) != protocol.fine_epochs + 1:
            raise RecordError(
                f"{cache} holds a fine network of this trial, so that earlier epochs are missing. "
                "Give an empty folder."
            )
    return result | {"agreement": outcome.sentence}, found


def propagation_by_epoch(
    record: Record, cache: Path, digits: Digits | None = None
) -> dict[str, Any]:
    """Return the feature maps of a record's two digits, before retraining and after each epoch.

    Parameters
    ----------
    record, cache, digits
        As for :func:`snapshots`.

    Returns
    -------
    dict
        What is written to a file: ``labels`` of the digits and ``channels`` by layer, which are
        those of the record's figures; ``metrics`` by condition, a row for each epoch, and
        ``agreement``, how they compare with the record's; ``maps`` and ``images`` as
        :func:`unpack` reads them.
        By condition, epoch and digit, ``answers``: the class and its probability; and by condition,
        epoch, digit and layer, ``changed``: the change of the maps of all channels since before
        retraining, relative to their norm there.

    Raises
    ------
    ValueError
        If the network has pooling, since its layers differ in size.
    RecordError
        If the rerun does not agree with the record, or the record has no arrays for figures.
    """
    protocol = record.protocol
    if protocol.pooling:
        raise ValueError("The study must have no pooling, got pooling=True.")
    figures = record.arrays()
    pool, chosen = draw_split(protocol, TRIAL, digits)
    result, networks = snapshots(record, cache, pool)
    place = {int(index): k for k, index in enumerate(chosen[2])}
    places = [place[int(index)] for index in figures["digits/indices"]]
    x = grid_images(protocol, pool, chosen, "fine").validation[places]
    channels = {layer: figures[f"channels/{layer}"][:CHANNELS].tolist() for layer in LAYERS}

    maps, answers, changed = [], [], []
    for condition in CONDITIONS:
        seen = [
            feature_maps(weights, x, False, protocol.padding) for weights in networks[condition]
        ]
        some = [
            torch.stack(
                [m[:, channels[layer]] for layer, m in zip(LAYERS, both, strict=True)], dim=1
            )
            for both in seen
        ]
        maps.append(torch.stack(some))  # (epochs, digits, layers, channels, n, n)
        likely = [
            forward(w, x, False, protocol.padding).softmax(1).max(1) for w in networks[condition]
        ]
        answers.append(
            [[[int(k), round(float(p), 4)] for p, k in zip(*top, strict=True)] for top in likely]
        )
        changed.append([_changed(both, seen[0]) for both in seen])
    return {
        "study": record.folder.name,
        "trial": TRIAL,
        "protocol": protocol.key(),
        "agreement": result["agreement"],
        "metrics": {condition: result["metrics"][condition] for condition in CONDITIONS},
        "labels": figures["digits/labels"].tolist(),
        "channels": channels,
        "images": pack((x - x.amin(dim=(1, 2, 3), keepdim=True))[:, 0].numpy()),
        "maps": pack(torch.stack(maps).numpy()),
        "answers": answers,
        "changed": changed,
    }


def _changed(current: list[Tensor], initial: list[Tensor]) -> list[list[float]]:
    """Return ‖current − initial‖ / ‖initial‖ by digit and layer."""
    share = [
        (a - b).flatten(1).norm(dim=1) / b.flatten(1).norm(dim=1)
        for a, b in zip(current, initial, strict=True)
    ]
    return [[round(float(s), 4) for s in digit] for digit in torch.stack(share, dim=1)]


def pack(maps: np.ndarray) -> dict[str, Any]:
    """Return maps as JSON values, each in 8 bits relative to its largest value.

    Parameters
    ----------
    maps : ndarray, shape (..., n, n)
        Not negative.

    Returns
    -------
    dict
        ``shape``; ``largest``, a number for each map in C order; ``levels``, base64 of deflated
        bytes in C order, of which 255 is the map's largest value.
    """
    largest = maps.max(axis=(-2, -1), keepdims=True).astype(np.float64)
    scale = np.where(largest > 0, largest, 1.0)
    levels = np.rint(maps / scale * LEVELS).astype(np.uint8)
    return {
        "shape": list(maps.shape),
        "largest": [float(f"{value:.6g}") for value in largest.ravel()],
        "levels": base64.b64encode(zlib.compress(levels.tobytes(), 9)).decode("ascii"),
    }


def unpack(packed: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return levels (..., n, n) from 0 to 255, and the largest values (...), of packed maps.

    Examples
    --------
    >>> levels, largest = unpack(pack(np.array([[[0.0, 1.0], [2.0, 4.0]]])))
    >>> levels.tolist(), largest.tolist()
    ([[[0, 64], [128, 255]]], [4.0])
    """
    shape = packed["shape"]
    levels = np.frombuffer(zlib.decompress(base64.b64decode(packed["levels"])), np.uint8)
    return levels.reshape(shape), np.array(packed["largest"]).reshape(shape[:-2])


def run_propagation(folder: Path) -> None:
    """Write a file for each of :data:`STUDIES` that the folder does not hold yet."""
    with tempfile.TemporaryDirectory() as cache:
        jobs = [
            (folder / f"{name}.json", (Record(records_folder() / name), Path(cache)))
            for name in STUDIES
        ]
        # One after the other: they have the coarse network in common.
        for one in run_missing(propagation_by_epoch, jobs, 1):
            print(f"{one['study']}: written", flush=True)


def read_propagation(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the files' contents by study, checked against their checksums."""
    return {name: read_json(folder / f"{name}.json") for name in STUDIES}
