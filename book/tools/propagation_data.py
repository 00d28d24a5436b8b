"""Write what the propagation explorer shows: two digits in three networks along retraining.

``book/_static/propagation_data.js`` holds the study that the page opens with, and
``propagation_data_original.js`` the other one, which a reader's browser asks for when it is chosen:
a page stays light.  Both are made of ``book/records/propagation``, which ``python -m mgcore
propagation book/records/propagation`` makes of MNIST in some minutes.  The same sources give the
same bytes; a test compares.
"""

from __future__ import annotations

import json
import os

import numpy as np
from notebooks import ROOT

from mgcore.lab.pages.propagation_explorer import LAYERS, STUDIES, read_propagation, unpack
from mgcore.lab.protocol import CONDITIONS
from mgcore.lab.records.record import Record
from mgcore.lab.trial.phases import measured_images

STATIC = ROOT / "book" / "_static"
FIRST = "prolonged"  # what the page opens with: there the three starts end farthest apart
LEVELS = 31  # of grey, beyond black: a pixel is a digit to base 32
DIGITS = 4  # significant ones
METRICS = ("training_accuracy", "validation_accuracy")
_BASE = np.array(list("0123456789abcdefghijklmnopqrstuv"))


def target(images: str):
    """Return the file of one study, named by its fine training images."""
    return STATIC / f"propagation_data{'' if images == FIRST else '_' + images}.js"


def text(levels: np.ndarray) -> str:
    """Return levels from 0 to 255 as digits to base 32, in C order."""
    return "".join(_BASE[np.rint(levels / 255 * LEVELS).astype(int)].ravel())


def along(levels: np.ndarray) -> str:
    """Return maps (epochs, n, n) as digits: the first, then differences to the epoch before.

    Differences are taken modulo 32.  Most maps hardly change, so most digits are 0, and what a
    server sends is a fifth smaller.
    """
    coarse = np.rint(levels / 255 * LEVELS).astype(int)
    coarse[1:] = (coarse[1:] - coarse[:-1]) % (LEVELS + 1)
    return "".join(_BASE[coarse].ravel())


def shown(name: str) -> dict[str, object]:
    """Return what the explorer shows of one study.

    Parameters
    ----------
    name : str
        One of :data:`mgcore.lab.pages.propagation_explorer.STUDIES`.

    Returns
    -------
    dict
        ``counts``: of training and validation images by epoch; ``digits``: ``label``, ``image``
        and by arm ``maps``, by layer and channel a text as :func:`along` gives it, ``largest`` by
        layer, channel, epoch, ``answers`` and ``changed`` by epoch; ``accuracy`` by arm and epoch
        in percent.
    """
    content = read_propagation(ROOT / "book" / "records" / "propagation")[name]
    protocol = Record(ROOT / "book" / "records" / name).protocol
    levels, largest = unpack(content["maps"])  # arm, epoch, digit, layer, channel, row, column
    images, _ = unpack(content["images"])
    round_ = np.vectorize(lambda value: float(f"{value:.{DIGITS}g}"))
    counts = []
    for epoch in range(protocol.fine_epochs + 1):
        count = measured_images(protocol, epoch, protocol.fine_epochs)[1]
        counts.append([count or protocol.n_fine, count or protocol.n_validation])
    return {
        "record": name,
        "trial": content["trial"],
        "side": protocol.resolution,
        "channels": [content["channels"][layer] for layer in LAYERS],
        "counts": counts,
        "accuracy": {
            arm: [[row[metric] for metric in METRICS] for row in content["metrics"][arm]]
            for arm in CONDITIONS
        },
        "digits": [
            {
                "label": label,
                "image": text(images[d]),
                **{
                    arm: {
                        "maps": [[along(one) for one in np.moveaxis(layer, 1, 0)]
                                 for layer in np.moveaxis(levels[a, :, d], 1, 0)],
                        "largest": round_(np.moveaxis(largest[a, :, d], 0, -1)).tolist(),
                        "answers": [epoch[d] for epoch in content["answers"][a]],
                        "changed": [epoch[d] for epoch in content["changed"][a]],
                    }
                    for a, arm in enumerate(CONDITIONS)
                },
            }
            for d, label in enumerate(content["labels"])
        ],
    }  # fmt: skip


def contents() -> dict[str, str]:
    """Return the files' texts by the fine training images of their study."""
    found = {}
    for name in STUDIES:
        images = name.split("-")[1]
        data = json.dumps(shown(name), separators=(",", ":"))
        found[images] = (
            "/* Written by book/tools/propagation_data.py; a test compares. */\n"
            f"(window.propagationData ||= {{}}).{images} = {data};\n"
        )
    return found


if __name__ == "__main__":
    for images, content in contents().items():
        target(images).write_text(content, encoding="utf-8")
        print(f"{os.path.relpath(target(images))}: {target(images).stat().st_size / 1000:.1f} kB")
