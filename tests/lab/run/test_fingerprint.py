"""The fingerprint: the same after a change of form, another after a change of mathematics."""

import importlib
import math
from pathlib import Path

import pytest
import torch

from mgcore.lab import Record
from mgcore.lab.protocol import CONDITIONS, NEWTONS, Protocol
from mgcore.lab.run.fingerprint import (
    _NEWTON,
    _PACKAGE_MOMENTUM,
    _PATHS,
    _SMALL,
    _VARIANTS,
    TOLERANCE,
    UNSETTLED,
    deviation,
    digest,
    fingerprint,
    fingerprint_of,
    passage,
    still_holds,
)
from mgcore.lab.trial import trial as study

ROOT = Path(__file__).parents[3]
COMMITTED = sorted(file.parent for file in (ROOT / "book" / "records").glob("*/canary.json"))


def _protocol(dataset: str, newton: str = "", **changes) -> Protocol:
    retraining = {"retraining": "joint", "newton": newton} if newton else {}
    return Protocol(dataset=dataset, **retraining, **changes)


@pytest.fixture
def forget():
    """Compute the fingerprint anew, within the test and after it."""
    passage.cache_clear()
    yield
    passage.cache_clear()


def test_repeated_runs_are_equal_whatever_was_drawn_before(forget):
    torch.manual_seed(1)
    first = fingerprint("strokes")
    passage.cache_clear()
    torch.manual_seed(2)
    torch.set_default_dtype(torch.float64)
    try:
        assert fingerprint("strokes") == first
    finally:
        torch.set_default_dtype(torch.float32)


def test_every_arm_of_every_variant_has_values():
    values = fingerprint("strokes")
    names = {tuple(name.split("/")[:2]) for name in values}
    for variant in ("plain", "pooled", "prolonged"):
        assert {(variant, arm) for arm in ("coarse", *CONDITIONS)} <= names
    assert all(math.isfinite(value) for value in values.values())
    mnist = fingerprint("mnist")
    assert {n: v for n, v in values.items() if not n.startswith("strokes/")} == mnist


@pytest.mark.parametrize("folder", COMMITTED, ids=lambda folder: folder.name)
def test_committed_records_were_made_by_code_that_computes_the_same(folder):
    record = Record(folder)
    now = fingerprint_of(record.protocol)
    worst, where = deviation(record.fingerprint, now)
    assert worst <= TOLERANCE, f"{folder.name} is stale: {where} differs by {worst:.1e}"


@pytest.mark.parametrize("path", [p for p in _PATHS if p != "strokes"])
def test_another_rounding_of_the_start_is_no_change_of_the_code(path, monkeypatch):
    """Processors round differently; the values that this moves far are those that are named."""
    real, noise = study.fresh_weights, torch.Generator()

    def rounded(*arguments):
        return {
            name: w * (1 + 2.0**-52 * torch.randn(w.shape, generator=noise, dtype=w.dtype))
            for name, w in real(*arguments).items()
        }

    then = passage(path)
    monkeypatch.setattr(study, "fresh_weights", rounded)
    for seed in range(2):
        noise.manual_seed(seed)
        now = passage.__wrapped__(path)
        assert 0 < deviation(then, now)[0] < TOLERANCE / 3
        moved = {n for n, v in now.items() if abs(v - then[n]) > TOLERANCE * abs(then[n])}
        assert (path == "package") == bool(moved)
        assert all(name.startswith(UNSETTLED) for name in moved)


@pytest.mark.parametrize("newton", NEWTONS)
def test_newtons_methods_add_their_own_values_and_leave_the_others(newton):
    plain, more = fingerprint("strokes"), fingerprint("strokes", newton)
    assert {name: more[name] for name in plain} == plain
    names = {tuple(name.split("/")[:2]) for name in set(more) - set(plain)}
    runs = {"coarse", *CONDITIONS, *(f"{arm}_classifier" for arm in CONDITIONS)}
    assert names == {(path, run) for path in _NEWTON[newton] for run in runs}
    assert all(math.isfinite(value) for value in more.values())
    assert digest(more) != digest(plain)
    without = {n: v for n, v in more.items() if not n.startswith("strokes/")}
    assert without == fingerprint("mnist", newton)


def test_each_path_is_run_once_in_a_process_whoever_asks(forget):
    (
        fingerprint("strokes"),
        fingerprint("mnist"),
        fingerprint("mnist", ""),
        still_holds({}, _protocol("strokes")),
    )
    assert passage.cache_info().misses == len(_VARIANTS) + 1  # and the stroke digits
    values = fingerprint("mnist")
    values.clear()  # of the caller's own
    assert fingerprint("mnist")


def test_the_paths_take_every_value_of_every_choice():
    protocols = [Protocol(**(_SMALL | changes)) for changes in _VARIANTS.values()]
    others = [*_PACKAGE_MOMENTUM, *(path for paths in _NEWTON.values() for path in paths)]
    later_protocols = [Protocol(**(_SMALL | _PATHS[path])) for path in others]
    for name, item in Protocol.__dataclass_fields__.items():
        accepted = set(item.metadata["accepted"])
        if item.type == "bool":
            accepted = {True, False}
        if name in ("tier", "dataset", "dtype") or not accepted:
            continue
        later = "later" in item.metadata
        seen = {getattr(p, name) for p in (later_protocols if later else protocols)}
        assert seen | ({"sgd"} if name == "retraining" else set()) == accepted, name


# Where Newton's methods pass, and the paths that are to notice a change there.
NEWTON_FAULTS = [
    ("mgcore.optimize.trust_region", "steihaug", ("classifier", "steihaug", "gauss-newton")),
    ("mgcore.optimize.block_newton", "_conjugate_gradients", ("package", "package-classifier")),
    ("mgcore.thesis.hessian_products", "softmax_hessian", ("gauss-newton", "package")),
    (
        "mgcore.thesis.classifier",
        "softmax_hessian",
        ("classifier", "package", "package-classifier"),
    ),
    ("mgcore.lab.trial.newton", "features", ("package",)),
    ("mgcore.thesis.classifier", "smoothness_gradient", ("classifier",)),
]


@pytest.mark.parametrize(("module", "name", "paths"), NEWTON_FAULTS)
def test_a_change_of_a_millionth_in_newtons_methods_makes_it_stale(
    module, name, paths, monkeypatch
):
    place = importlib.import_module(module)
    real = getattr(place, name)

    def changed(*arguments, **options):
        result = real(*arguments, **options)
        if name == "steihaug":
            return result._replace(p=result.p * (1 + 1e-6))
        if name == "_conjugate_gradients":
            return result[0] * (1 + 1e-6), result[1]
        return result * (1 + 1e-6)

    then = {path: passage(path) for path in paths}
    monkeypatch.setattr(place, name, changed)
    for path in paths:
        now = passage.__wrapped__(path)  # not from the cache, nor into it
        assert deviation(then[path], now)[0] > TOLERANCE, path


def test_a_fault_in_newtons_methods_does_not_touch_the_records_of_sgd(monkeypatch):
    from mgcore.optimize import trust_region as steihaug

    more = {newton: fingerprint("mnist", newton) for newton in ("", *NEWTONS)}
    for newton, values in more.items():  # none is taken for another
        assert [still_holds(values, _protocol("mnist", n)) for n in more] == [
            n == newton for n in more
        ]
    real, plain = steihaug.steihaug, passage("plain")
    monkeypatch.setattr(
        steihaug, "steihaug", lambda *a, **k: (s := real(*a, **k))._replace(p=0.5 * s.p)
    )
    assert passage.__wrapped__("plain") == plain


def test_the_packages_momentum_has_paths_of_its_own():
    plain, package = _protocol("mnist"), _protocol("mnist", momentum_rule="package")
    more = set(fingerprint_of(package)) - set(fingerprint_of(plain))
    assert {name.split("/")[0] for name in more} == {"package-momentum", "package-plain"}
    assert not still_holds(fingerprint_of(plain), package)
    assert passage("package-momentum") != passage("plain")


# Where a result passes, and what would change it a little there.
FAULTS = [
    ("mgcore.thesis.objective", "smoothness_gradient"),
    ("mgcore.thesis.objective", "tikhonov_gradient"),
    ("mgcore.thesis.objective", "smoothness"),
    ("mgcore.thesis.objective", "tikhonov"),
    ("mgcore.thesis.network", "refine_kernel"),
    ("mgcore.thesis.network", "refine_classifier"),
    ("mgcore.thesis.network", "smooth_by_dct"),
    ("mgcore.lab.trial.phases", "learning_rate"),
    ("mgcore.lab.trial.trial", "restrict"),
    ("mgcore.lab.trial.trial", "normalise"),
    ("mgcore.data.images", "prolong"),
    ("mgcore.lab.run.fingerprint", "load_digits"),
]


@pytest.mark.parametrize(("module", "name"), FAULTS)
def test_a_change_of_a_millionth_anywhere_makes_it_stale(module, name, monkeypatch):
    place = importlib.import_module(module)
    real = getattr(place, name)

    def changed(*arguments, **options):
        result = real(*arguments, **options)
        if name == "load_digits":
            return type(result)(result.name, result.images * (1 + 1e-6), result.labels, "")
        return result * (1 + 1e-6)

    paths = ["strokes"] if name == "load_digits" else list(_VARIANTS)
    then = {path: passage(path) for path in paths}
    monkeypatch.setattr(place, name, changed)
    assert any(deviation(then[path], passage.__wrapped__(path))[0] > TOLERANCE for path in paths)


def test_a_sign_makes_it_stale(forget, monkeypatch):
    from mgcore.thesis import objective

    then = fingerprint("mnist")
    assert still_holds(then, _protocol("mnist")) and not still_holds(None, _protocol("mnist"))
    passage.cache_clear()
    real = objective.tikhonov_gradient
    monkeypatch.setattr(objective, "tikhonov_gradient", lambda *a: -real(*a))
    assert not still_holds(then, _protocol("mnist"))


def test_another_split_makes_it_stale(forget, monkeypatch):
    from mgcore.lab.trial import trial as study

    then = fingerprint("mnist")
    passage.cache_clear()
    real = study.split
    monkeypatch.setattr(study, "split", lambda *a: [part.flip(0) for part in real(*a)])
    assert not still_holds(then, _protocol("mnist"))


@pytest.mark.parametrize(
    ("then", "now", "worst", "where"),
    [
        ({"a": 1.0}, {"a": 1.0}, 0.0, ""),
        ({"a": 2.0, "b": 1.0}, {"a": 2.0, "b": 1.5}, 0.5, "b"),
        ({"a": -2.0, "b": 4.0}, {"a": -1.0, "b": 5.0}, 0.5, "a"),
        ({"a": 0.0}, {"a": 1e-6}, 1e-3, "a"),  # near zero differences count per thousandth
        ({"a": 1.0}, {"a": 1.0, "b": 1.0}, math.inf, "b"),
        ({"a": 1.0, "b": 1.0}, {"a": 1.0}, math.inf, "b"),
        ({"a": math.nan}, {"a": 1.0}, math.inf, "a"),
        ({UNSETTLED[0] + "a": 1.0, "b": 1.0}, {UNSETTLED[0] + "a": 2.0, "b": 1.01}, 1e-2, "b"),
    ],
)
def test_deviation_is_the_largest_relative_difference(then, now, worst, where):
    size, name = deviation(then, now)
    assert size == pytest.approx(worst, rel=1e-12) and name == where


def test_a_value_that_is_no_number_now_is_a_deviation():
    """Wherever it stands: no comparison of a larger one with nan may forget it."""
    then = {"a": 1.0, "b": 1.0, "c": 1.0}
    for name in then:
        assert deviation(then, then | {name: math.nan}) == (math.inf, name)


def test_the_digest_ignores_rounding_and_order():
    values = {"a": 1.2345678, "b": 2.0}
    assert digest(values) == digest({"b": 2.0 + 1e-12, "a": 1.2345678})
    assert digest(values) != digest(values | {"a": 1.2346})
    assert len(digest(values)) == 16
