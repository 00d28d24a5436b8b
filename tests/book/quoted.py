"""What pages quote, and the committed trials, straight from the files: for tests of numbers."""

import json
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from scipy.stats import t as student

ROOT = Path(__file__).resolve().parents[2]
GLUE = "application/papermill.record/text/plain"


def glued(chapter):
    """Return the glued values of a notebook by key, as the text that is pasted."""
    found = {}
    for cell in json.loads(chapter.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            if GLUE in output.get("data", {}):
                key = output["metadata"]["scrapbook"]["name"]
                found[key] = "".join(output["data"][GLUE])
    return found


def trials(folder, part="metrics"):
    """Return the metrics, or the measures, of a committed record, straight from the files."""
    files = sorted((ROOT / "book" / "records" / folder).glob("trial-*.json"))
    return [json.loads(file.read_text(encoding="utf-8"))[part] for file in files]


def rows(metrics, epoch):
    return metrics[-1] if epoch == "last" else next(r for r in metrics if r["epoch"] == int(epoch))


def geometric(values):
    return float(np.exp(np.mean(np.log(values))))


def pairs(folder):
    """Return metrics and measures of each trial of a record."""
    return list(zip(trials(folder), trials(folder, "measures"), strict=True))


def gap(metrics, run, epoch):
    row = rows(metrics[run], epoch)
    return row["training_accuracy"] - row["validation_accuracy"]


def check_spread(text, values):
    """A mean ± the half-width of its Student interval, to the decimal that is pasted."""
    mean, half = (float(part) for part in text.strip("'").split(" ± "))
    assert mean == pytest.approx(fmean(values), abs=0.0501)
    error = np.std(values, ddof=1) / len(values) ** 0.5
    assert half == pytest.approx(student.ppf(0.975, len(values) - 1) * error, abs=0.0501)
