"""Write ``book/_static/sharpness_data.js``: what the front page shows of the sweep in sharpness.

It is made of ``book/records/sharpness``, which ``python -m mgcore sharpness
book/records/sharpness`` makes of MNIST.  Of the recorded steps the page has those from the smoothed
to the original images.  The same sources give the same bytes; a test compares.
"""

from __future__ import annotations

import json
import os

import numpy as np
import torch
from notebooks import ROOT
from propagation_data import LEVELS, text

from mgcore.data.images import prepare
from mgcore.lab.choices.sharpness import (
    BETWEEN,
    CONDITIONS,
    SHOWN,
    STUDY,
    Sweep,
    read_sharpness,
    unpack,
)
from mgcore.lab.protocol import Protocol
from mgcore.lab.records.record import Record

TARGET = ROOT / "book" / "_static" / "sharpness_data.js"
RECORD = ROOT / "book" / "records" / "sharpness"
BYTE = 255  # white


def between(sweep: Sweep) -> np.ndarray:
    """Return the places, among the recorded steps, of those that the page shows."""
    return np.flatnonzero(np.isin(sweep.steps, BETWEEN))


def protocol_of(sweep: Sweep) -> Protocol:
    """Return the protocol of the study whose networks were swept."""
    return Record(ROOT / "book" / "records" / sweep.study).protocol


def ends(sweep: Sweep) -> tuple[np.ndarray, np.ndarray]:
    """Return the ten digits smoothed and original, (10, n, n) from 0 to 1."""
    original = torch.from_numpy(unpack(sweep.answers["pixels"]) / BYTE)
    return prepare(original, "prolonged", protocol_of(sweep).prolongation).numpy(), original.numpy()


def shown(sweep: Sweep) -> dict[str, object]:
    """Return what the page shows.

    Returns
    -------
    dict
        ``record`` of the networks; ``steps``; ``trials``, their number; ``trial``, that of the
        answers; ``images``, the numbers of small and large training images and of validation
        images; ``headline``, the numbers of training images of the networks in the page's first
        sentence; ``accuracy`` by condition and trial, in percent; and ten
        ``digits``: ``index`` in the data set, ``smoothed`` and ``original``, pixels as digits to
        base 32, and by condition the class probabilities by step, in thousandths.
    """
    places = between(sweep)
    smoothed, original = (images * BYTE for images in ends(sweep))
    probabilities = unpack(sweep.answers["probabilities"])[:, places]
    protocol = protocol_of(sweep)
    headline = Record(ROOT / "book" / "records" / f"{STUDY}-paper").protocol
    return {
        "record": sweep.study,
        "steps": sweep.steps[places].tolist(),
        "trial": SHOWN,
        "trials": len(sweep.trials),
        "headline": [headline.n_coarse, headline.n_fine],
        "images": [protocol.n_coarse, protocol.n_fine, protocol.n_validation],
        "side": original.shape[-1],
        "levels": LEVELS,
        "accuracy": {
            condition: sweep.accuracy[condition][:, places].round(2).tolist()
            for condition in CONDITIONS
        },
        "digits": [
            {
                "index": index,
                "smoothed": text(smoothed[digit]),
                "original": text(original[digit]),
                **{
                    condition: probabilities[c, :, digit].tolist()
                    for c, condition in enumerate(CONDITIONS)
                },
            }
            for digit, index in enumerate(sweep.answers["indices"])
        ],
    }


def content() -> str:
    """Return the file's text."""
    data = json.dumps(shown(read_sharpness(RECORD)), separators=(",", ":"))
    return (
        "/* Written by book/tools/sharpness_data.py; a test compares. */\n"
        f"window.sharpnessData = {data};\n"
    )


if __name__ == "__main__":
    TARGET.write_text(content(), encoding="utf-8")
    print(f"{os.path.relpath(TARGET)}: {TARGET.stat().st_size / 1000:.1f} kB")
