"""Write the records of ``refine`` on the networks of a library: ``book/records/zoo/LIBRARY.json``.

Of torchvision all networks for classification, segmentation and video, and the backbones of
detection.  Of timm, where it is installed, the smallest network of each module; to find these takes
some minutes of the first run.  They have no weights and are on the meta device.

Images change from 224 to 448 and to 288 pixels along a side (films of 112 pixels to 224 and 144,
Inception of 299 to 598 and 384, SSD of 300 to 600 and 386).  Where a patch of 14 pixels does not
divide 288, the size is 294; a network of timm that does not run at 224 changes from its own size to
multiples of 32.  Each result is written as it comes; a second run does what is missing or was
refused.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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
from mgcore.lab.pages.zoo import LIBRARIES, RATIOS, Result, zoo_path
from mgcore.lab.records.files import read_json, write_json
from mgcore.refinement.report import Report

FRAMES = 16  # of a film
WEIGHTS = ("weights", "weights_backbone")  # what a builder would download
REFUSED = (ValueError, AssertionError, RuntimeError)  # also a constructor's own errors


@dataclass(frozen=True)
class Entry:
    """One network and where to find it.

    Attributes
    ----------
    name : str
    kind : str
        As in :class:`mgcore.lab.pages.zoo.Result`.
    module : ModuleType
        Of torchvision, or timm.
    side : int
        Pixels along a side.
    multiple : int
        Sizes of images are multiples of it.
    """

    name: str
    kind: str
    module: ModuleType
    side: int
    multiple: int = 1


def entries() -> list[Entry]:
    """Return every network of torchvision, a member of each family first."""
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
            multiple = 14 if name == "vit_h_14" else 1
            yield Entry(name, kind, models, 112 if films else side, multiple)


def timm_entries(stored: list[dict[str, Any]]) -> Iterator[Entry]:
    """Yield the smallest network of each module of timm, but for its test networks.

    Parameters
    ----------
    stored : list of dict
        Results: the networks that they name are not searched again.
    """
    import_torchvision("torchvision.models")  # which timm imports
    timm = importlib.import_module("timm")
    known = {result["kind"]: (result["name"], result["before"][-1]) for result in stored}
    for module in timm.list_modules():
        name, side = known.get(module) or _smallest(timm, module)
        convolutions = [m for m in build(Entry(name, module, timm, side)).modules()
                        if isinstance(m, nn.Conv2d)]  # fmt: skip
        patches = any(convolution.stride == (14, 14) for convolution in convolutions)
        yield Entry(name, module, timm, side, 14 if patches else 32)


def _smallest(timm: ModuleType, module: str) -> tuple[str, int]:
    """Return the network of a module of timm that has the fewest weights, and its size of images.

    The size is 224, or that of its configuration where it does not run at 224.
    """
    counts = {}
    for name in timm.list_models(module=module):
        if not name.startswith("test_"):
            weights = build(Entry(name, module, timm, 0)).parameters()
            counts[name] = sum(weight.numel() for weight in weights)
    name = min(counts, key=lambda name: counts[name])
    runs = _runs(Entry(name, module, timm, 224))
    return name, 224 if runs else timm.get_pretrained_cfg(name).input_size[-1]


def _runs(entry: Entry) -> bool:
    """Return whether a network can be built for its size and runs."""
    try:
        with torch.no_grad():
            build(entry).eval()(torch.zeros(2, 3, entry.side, entry.side, device="meta"))
    except (AssertionError, RuntimeError, ValueError):
        return False
    return True


def build(entry: Entry, **options: Any) -> nn.Module:
    """Return a network without weights; of a detector its backbone."""
    if entry.module.__name__ == "timm":
        return _sized(entry, entry.side) or _of_timm(entry)
    builder = entry.module.get_model_builder(entry.name)
    known = inspect.signature(builder).parameters
    plain: dict[str, Any] = {name: None for name in WEIGHTS if name in known}
    if entry.name in ("googlenet", "inception_v3"):
        plain["init_weights"] = False  # which takes a minute
    with torch.device("meta"), _numbers_of_regnet():
        model = builder(**plain, **options)
    return model.backbone if entry.kind == "detection" else model


def _of_timm(entry: Entry, **options: Any) -> nn.Module:
    """Return a network of timm."""
    with torch.device("meta"):
        return entry.module.create_model(entry.name, **options)


def _sized(entry: Entry, side: int) -> nn.Module | None:
    """Return a network of timm for images of some size; None where it takes no such argument."""
    if not side:
        return None
    try:
        return _of_timm(entry, img_size=side)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        return None


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

    Some builders of torchvision set sizes themselves; these are replaced behind them.
    """
    if entry.module.__name__ == "timm":
        return _sized(entry, side)
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
    side = entry.multiple * round(entry.side * ratio[0] / ratio[1] / entry.multiple)
    frames = [FRAMES] if entry.kind == "video" else []
    before, after = ([3, *frames, n, n] for n in (entry.side, side))
    return before, after


def result_of(entry: Entry, ratio: tuple[int, int]) -> Result:
    """Refine one network and say what was done."""
    before, after = shapes(entry, ratio)
    result = Result(entry.name, entry.kind, before, after)
    try:
        report, result.into = _report(entry, before, after)
    except REFUSED as error:
        result.refusal = str(error)
        with warnings.catch_warnings(record=True) as warned, suppress(*REFUSED):
            warnings.simplefilter("always")
            report, result.into = _report(entry, before, after, sums="warn")
            result.refusal = ""
            result.warning = next(str(w.message) for w in warned if "Train" in str(w.message))
        if result.refusal:
            return result
    result.counts = dict(Counter(row.done for row in report.rows))
    fits = [row.residual for row in report.rows if row.done == "fitted"]
    result.residuals = [round(f(fits), 3) for f in (median, max)] if fits else []
    return result


def _report(
    entry: Entry, before: list[int], after: list[int], sums: str = "raise"
) -> tuple[Report, bool]:
    """Refine one network; return the report and whether a network for the new size was given.

    A network of timm gets one only if it is refused without it.
    """
    to, side = after[1:], after[-1]
    into = None if entry.module.__name__ == "timm" else made_for(entry, side)
    try:
        _, report = refine(build(entry), before, to=to, into=into, sums=sums, return_report=True)
    except ValueError:
        second = None if into else made_for(entry, side)
        if second is None:
            raise
        into = second
        _, report = refine(build(entry), before, to=to, into=into, sums=sums, return_report=True)
    return report, into is not None


def main(arguments: list[str] | None = None) -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--library", choices=LIBRARIES, default=LIBRARIES[0])
    parser.add_argument("--again", action="store_true", help="run everything, also what is there")
    parser.add_argument("--only", default="", help="networks whose name begins so")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    path = zoo_path(options.library)
    path.parent.mkdir(exist_ok=True)
    found = read_json(path)["results"] if path.exists() else []
    results = {(r["name"], r["kind"], tuple(r["after"])): r for r in found}
    networks = timm_entries(found) if options.library == "timm" else entries()
    listed = []

    def write() -> None:
        versions = {name: version(name) for name in ("torch", "torchvision", options.library)}
        write_json(path, {"versions": versions, "results": list(results.values())})

    for entry, ratio in ((entry, ratio) for entry in networks for ratio in RATIOS):
        key = (entry.name, entry.kind, tuple(shapes(entry, ratio)[1]))
        listed.append(key)
        there = key in results and not results[key]["refusal"] and not options.again
        if there or not entry.name.startswith(options.only):
            continue
        results[key] = asdict(result_of(entry, ratio))
        write()
        one = results[key]
        done = one["refusal"] or f"{one['counts']} {one['warning']}".rstrip()
        print(f"{entry.kind} {entry.name} → {key[2][-1]}: {done}", flush=True)
    results = {key: results[key] for key in listed if key in results}  # in order; others are gone
    write()


if __name__ == "__main__":
    main()
