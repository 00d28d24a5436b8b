"""Write ``book/records/zoo/torchvision.json``: what ``refine`` does to every torchvision network.

Classifiers, segmentation and video networks, and the backbones of detection, without weights and on
the meta device, from 224 to 448 and to 288 pixels along a side (films of 112 pixels to 224 and 144,
Inception of 299 to 598 and 384, SSD of 300 to 600 and 386).  Each result is written as it comes; a
second run does what is missing or was refused.
"""

from __future__ import annotations

import argparse
import inspect
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from statistics import median
from types import ModuleType
from typing import Any
from unittest import mock

import torch
from torch import nn

from mgcore import refine
from mgcore.data.published import import_torchvision
from mgcore.lab.pages.zoo import RATIOS, Result, zoo_path
from mgcore.lab.records.files import read_json, write_json

FRAMES = 16  # of a film
WEIGHTS = ("weights", "weights_backbone")  # what a builder would download


@dataclass(frozen=True)
class Entry:
    """One network and where to find it.

    Attributes
    ----------
    name : str
    kind : {"classification", "segmentation", "video", "detection"}
    module : ModuleType
        Of torchvision.
    side : int
        Pixels along a side.
    """

    name: str
    kind: str
    module: ModuleType
    side: int


def entries() -> list[Entry]:
    """Return every network, a member of each family first."""
    members: Counter[str] = Counter()
    placed = []
    for entry in _listed():
        family = entry.kind + re.split(r"[\d_]", entry.name)[0]
        placed.append((members[family], entry))
        members[family] += 1
    return [entry for _, entry in sorted(placed, key=lambda place: place[0])]


def _listed() -> Iterator[Entry]:
    """Yield the networks in torchvision's order."""
    models = import_torchvision("torchvision.models")
    for kind in ("classification", "segmentation", "video", "detection"):
        module = models if kind == "classification" else getattr(models, kind)
        for name in models.list_models(module=module):
            side = {"inception_v3": 299, "ssd300_vgg16": 300}.get(name, 224)
            films = kind == "video" and not name.startswith(("mvit", "swin3d", "s3d"))
            yield Entry(name, kind, models, 112 if films else side)


def build(entry: Entry, **options: Any) -> nn.Module:
    """Return a network without weights; of a detector its backbone."""
    builder = entry.module.get_model_builder(entry.name)
    known = inspect.signature(builder).parameters
    plain: dict[str, Any] = {name: None for name in WEIGHTS if name in known}
    if entry.name in ("googlenet", "inception_v3"):
        plain["init_weights"] = False  # which takes a minute
    with torch.device("meta"), _numbers_of_regnet():
        model = builder(**plain, **options)
    return model.backbone if entry.kind == "detection" else model


@contextmanager
def _numbers_of_regnet() -> Iterator[None]:
    """Let RegNet compute its numbers of channels, which it does with tensors, on the CPU."""
    place = import_torchvision("torchvision.models.regnet").BlockParams
    make = place.from_init_params

    def on_cpu(*arguments: Any, **named: Any) -> Any:
        with torch.device("cpu"):
            return make(*arguments, **named)

    with mock.patch.object(place, "from_init_params", on_cpu):
        yield


def made_for(entry: Entry, side: int) -> nn.Module | None:
    """Return the network for another size, where a network takes one size only.

    Builders pass some sizes on themselves; these are replaced behind them.
    """
    square = (side, side)
    if entry.name.startswith("vit_"):
        return build(entry, image_size=side)
    if entry.name.startswith("maxvit"):
        # Its maps, 32 times smaller than the image, are cut into windows of that many cells.
        return _behind(entry, "maxvit", "_maxvit", input_size=square, partition_size=_window(side))
    if entry.name.startswith("mvit"):
        return _behind(entry, "video.mvit", "_mvit", spatial_size=square)
    return None


def _window(side: int) -> int:
    """Return MaxViT's window for images of some size: 7 cells where they fit."""
    return 7 if side % 224 == 0 else side // 32


def _behind(entry: Entry, module: str, function: str, **options: Any) -> nn.Module:
    """Build a network with options that its builder does not let through."""
    place = import_torchvision(f"torchvision.models.{module}")
    make: Callable[..., nn.Module] = getattr(place, function)
    with mock.patch.object(place, function, lambda *a, **k: make(*a, **(k | options))):
        return build(entry)


def shapes(entry: Entry, ratio: tuple[int, int]) -> tuple[list[int], list[int]]:
    """Return the shapes of an input before and after."""
    side = round(entry.side * ratio[0] / ratio[1])
    frames = [FRAMES] if entry.kind == "video" else []
    before, after = ([3, *frames, n, n] for n in (entry.side, side))
    return before, after


def result_of(entry: Entry, ratio: tuple[int, int]) -> Result:
    """Refine one network and say what was done."""
    before, after = shapes(entry, ratio)
    result = Result(entry.name, entry.kind, before, after)
    try:
        into = made_for(entry, after[-1])
        result.into = into is not None
        _, report = refine(build(entry), before, to=after[1:], into=into, return_report=True)
    except (ValueError, AssertionError, RuntimeError) as error:  # its own constructor's too
        result.refusal = str(error)
        return result
    result.counts = dict(Counter(row.done for row in report.rows))
    fits = [row.residual for row in report.rows if row.done == "fitted"]
    result.residuals = [round(f(fits), 3) for f in (median, max)] if fits else []
    return result


def main(arguments: list[str] | None = None) -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--again", action="store_true", help="run everything, also what is there")
    parser.add_argument("--only", default="", help="networks whose name begins so")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    versions = {name: version(name) for name in ("torch", "torchvision")}
    zoo_path().parent.mkdir(exist_ok=True)
    found = read_json(zoo_path())["results"] if zoo_path().exists() else []
    stored = {(r["name"], r["kind"], tuple(r["after"])): r for r in found}
    wanted = {
        (entry.name, entry.kind, tuple(shapes(entry, ratio)[1])): (entry, ratio)
        for entry in entries()
        for ratio in RATIOS
    }
    results = {key: stored[key] for key in wanted if key in stored}
    for key, (entry, ratio) in wanted.items():
        there = key in results and not results[key]["refusal"] and not options.again
        if there or not entry.name.startswith(options.only):
            continue
        results[key] = asdict(result_of(entry, ratio))
        write_json(zoo_path(), {"versions": versions, "results": list(results.values())})
        done = results[key]["refusal"] or results[key]["counts"]
        print(f"{entry.kind} {entry.name} → {key[2][-1]}: {done}", flush=True)


if __name__ == "__main__":
    main()
