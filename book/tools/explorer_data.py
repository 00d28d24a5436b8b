"""Write ``book/_static/explorer_data.js``: the digits and trained kernels of the kernel explorer.

The page asks nothing of a server or a kernel, so what it shows travels with it: a few stroke
digits, sampled at three sizes and kept in 8 bits, and some kernels that the recorded network
learned on the coarse grid.  The same sources give the same bytes; a test compares them.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping

import numpy as np
from notebooks import ROOT

from mgcore.data.strokes import stroke_digits

TARGET = ROOT / "book" / "_static" / "explorer_data.js"
RECORD = "baseline-original-class"
SIZES = (14, 28, 56)
IMAGES = (19, 35, 33)  # places in the sequence of seed 0: a 2, a 5 and an 8, plainly written
KERNELS = 6
ALIKE = 0.9  # the cosine from which two kernels count as one: some are multiples of others


def _text(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")


def digits() -> list[dict[str, object]]:
    """Return the digits: ``label``, and by size ``pixels``, base64 of n·n bytes, 255 for full ink.

    Rows run downwards, in row-major order.
    """
    found = []
    for start in IMAGES:
        pixels = {}
        for size in SIZES:
            image, label = stroke_digits(1, size, start=start)
            pixels[str(size)] = _text((255 * image[0].numpy()).round().astype(np.uint8))
        found.append({"label": int(label), "pixels": pixels})
    return found


def kernels(figures: Mapping[str, np.ndarray]) -> dict[str, object]:
    """Return the strongest trained kernels of different shape, with the channels they come from.

    Parameters
    ----------
    figures : mapping
        The arrays of a record's ``figures.npz``; ``stencils/coarse/conv1`` is (32, 1, 3, 3).

    Returns
    -------
    dict
        ``channels``, strongest first, and ``values``, base64 of as many times 9 float32 numbers.
    """
    stencils = figures["stencils/coarse/conv1"][:, 0]
    flat = stencils.reshape(len(stencils), -1).astype(np.float64)
    norms = np.linalg.norm(flat, axis=1)
    kept: list[int] = []
    for channel in np.argsort(-norms, kind="stable").tolist():
        cosines = flat[kept] @ flat[channel] / (norms[kept] * norms[channel])
        if len(kept) < KERNELS and np.all(np.abs(cosines) < ALIKE):
            kept.append(channel)
    return {"channels": kept, "values": _text(stencils[kept].astype("<f4"))}


def content() -> str:
    """Return the file's text."""
    with np.load(ROOT / "book" / "records" / RECORD / "figures.npz", allow_pickle=False) as figures:
        data = {"digits": digits(), "trained": {"record": RECORD, **kernels(figures)}}
    return (
        "/* Written by book/tools/explorer_data.py; a test compares. */\n"
        f"window.explorerData = {json.dumps(data, separators=(',', ':'))};\n"
    )


if __name__ == "__main__":
    TARGET.write_text(content(), encoding="utf-8")
    print(f"{os.path.relpath(TARGET)}: {TARGET.stat().st_size / 1000:.1f} kB")
