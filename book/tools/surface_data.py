"""Write ``book/_static/surface_data.js``: the recorded loss surfaces of the surface explorer.

Everything is of trial 0, for whose networks alone a record keeps surfaces: a record that gains
trials gives the same bytes, one whose surfaces or measures change does not, and a test compares.
"""

from __future__ import annotations

import json
import os

import numpy as np
from notebooks import ROOT

from mgcore.lab.records.record import Record
from mgcore.lab.verdict.metrics import cell

TARGET = ROOT / "book" / "_static" / "surface_data.js"
RECORDS = tuple(
    f"{study}-{images}-paper"
    for study in ("pooling", "baseline")
    for images in ("original", "prolonged")
)
NETWORKS = ("coarse", "transfer", "multigrid")
MEASURES = ("loss", "radius", "reach")
TRIAL = 0
DIGITS = 5  # significant ones


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def surfaces(name: str) -> dict[str, object]:
    """Return what the explorer shows of one record.

    Parameters
    ----------
    name : str
        A folder of ``book/records``.

    Returns
    -------
    dict
        ``steps``, k multiples of the directions, and by network: ``length`` of a direction (of all
        filters together, and so of a step of 1), ``loss`` at the centre without penalties,
        ``radius`` at which it doubles in multiples of the directions and ``reach``, the same in
        absolute units; ``values``, k·k of the objective, entry i·k + j at (steps[i], steps[j]).
    """
    record = Record(ROOT / "book" / "records" / name)
    trial, arrays = record.trial(TRIAL), record.arrays()
    found: dict[str, object] = {
        "steps": [round(float(s), DIGITS) + 0.0 for s in arrays["surface_steps"]]
    }
    for network in NETWORKS:
        around = {what: cell(trial, f"landscape.{network}.{what}") for what in MEASURES}
        around["length"] = trial["measures"]["landscape"][network]["length"]
        found[network] = {
            **{what: _short(value) for what, value in around.items()},
            "values": [_short(v) for v in np.ravel(arrays[f"surface/{network}"])],
        }
    return found


def content() -> str:
    """Return the file's text."""
    data = {"trial": TRIAL, "records": {name: surfaces(name) for name in RECORDS}}
    return (
        "/* Written by book/tools/surface_data.py; a test compares. */\n"
        f"window.surfaceData = {json.dumps(data, separators=(',', ':'))};\n"
    )


if __name__ == "__main__":
    TARGET.write_text(content(), encoding="utf-8")
    print(f"{os.path.relpath(TARGET)}: {TARGET.stat().st_size / 1000:.1f} kB")
