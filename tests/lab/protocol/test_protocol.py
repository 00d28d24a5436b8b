"""The protocol: what the thesis prints, what is refused, and names for what was chosen."""

import dataclasses
import json
import math
from pathlib import Path

import pytest

from mgcore.lab import Protocol, Record, study_protocol
from mgcore.lab.protocol import CONDITIONS, TIERS
from mgcore.lab.protocol.presets import CHOSEN
from mgcore.lab.run.fingerprint import fingerprint_of
from mgcore.lab.trial.trial import checkpoint_file, grid_images, refined_start

RECORDS = Path(__file__).parents[3] / "book" / "records"
FIELDS = {item.name: item for item in dataclasses.fields(Protocol)}
KIND = {name: type(item.default) for name, item in FIELDS.items()}

# One other accepted value for every field; a test sees that none is left out.
OTHER = {
    "name": "other", "tier": "class", "dataset": "mnist", "seed": 1, "resolution": 32,
    "pooling": True, "n_coarse": 41_000, "n_fine": 9_000, "n_validation": 9_000,
    "coarse_epochs": 19, "fine_epochs": 9, "fine_training": "prolonged",
    "fine_validation": "prolonged", "normalisation": "standardised", "padding": "circular",
    "prolongation": "constant", "classifier_factor": 4.0, "classifier_bias": False,
    "stencil_scale": "he", "classifier_scale": 0.2, "classifier_clip": 0.3, "dct_cutoff": 3.0,
    "learning_rate": 0.004, "rate_decay": 0.25, "batch": 64, "momentum": 0.5, "nesterov": False,
    "alpha_theta": 0.5, "alpha_fine": 0.5, "alpha_coarse": 0.5, "penalty_scale": 0.5,
    "smoothness_h": 0.5, "subset": 1_000, "dtype": "float64", "retraining": "joint",
    "newton": "meganet", "hessian": "gauss-newton", "classifier_epochs": 4, "cg_iterations": 9,
    "trust_radius": 0.5, "newton_epoch": "pass", "product_cost": 3.0,
    "momentum_rule": "package",
}  # fmt: skip


def refusal(**changes) -> str:
    """The sentence with which the strokes' protocol refuses `changes`."""
    with pytest.raises(ValueError) as raised:
        Protocol.printed(**({"dataset": "strokes"} | changes))
    return str(raised.value)


def test_printed_is_what_the_thesis_prints():
    p = Protocol.printed()
    assert (p.n_coarse, p.n_fine, p.n_validation) == (40_000, 10_000, 10_000)
    assert (p.coarse_epochs, p.fine_epochs) == (20, 10)
    assert (p.learning_rate, p.rate_decay, p.batch) == (0.003, 0.5, 32)
    assert (p.alpha_theta, p.alpha_fine, p.alpha_coarse) == (2**-3, 2**-5, 4 * 2**-5)
    assert (p.momentum, p.nesterov, p.penalty_scale) == (0.9, True, 1.0)
    assert (p.classifier_clip, p.classifier_factor, p.prolongation) == (0.2, 0.25, "bilinear")
    assert (p.fine_training, p.fine_validation, p.padding) == ("original", "original", "zeros")
    assert (p.name, p.tier, p.dataset, p.resolution) == ("printed", "paper", "mnist", 28)
    assert (p.smoothness_h, p.stencil_scale, p.normalisation) == (1.0, "flat", "unit")
    assert CONDITIONS == ("new", "transfer", "multigrid")


def test_calibrated_differs_by_what_was_chosen_and_nothing_else():
    mine, printed = Protocol.calibrated().to_json(), Protocol.printed().to_json()
    assert mine == printed | CHOSEN | {"name": "calibrated"}


def test_objectives_of_the_two_grids():
    p = Protocol.printed(penalty_scale=0.5, pooling=True, padding="circular", smoothness_h=0.25)
    fine, coarse = p.objective("fine"), p.objective("coarse")
    assert (fine.resolution, coarse.resolution) == (28, 14)
    assert (fine.alpha_theta, fine.alpha_w) == (2**-4, 2**-6)
    assert (coarse.alpha_theta, coarse.alpha_w) == (2**-4, 2**-4)
    for objective in (fine, coarse):
        assert (objective.pooling, objective.padding, objective.h) == (True, "circular", 0.25)
    assert (p.coarse_side, Protocol.printed().coarse_side) == (7, 14)


@pytest.mark.parametrize("grid", ["nonsense", "Fine", "", None])
def test_a_grid_that_does_not_exist_is_refused_and_not_taken_for_the_other(grid):
    p = Protocol.printed()
    for call in (
        lambda: p.objective(grid),
        lambda: grid_images(p, None, [None] * 3, grid),
        lambda: checkpoint_file(Path(), p, 0, "new", grid, "cpu", None, None),
        lambda: fingerprint_of(p, grid),
    ):
        with pytest.raises(ValueError) as raised:
            call()
        assert str(raised.value) == f"grid must be one of 'coarse', 'fine', got {grid!r}."


def test_a_condition_that_does_not_exist_is_refused():
    """It was given the start of the Galerkin initialisation."""
    with pytest.raises(ValueError) as raised:
        refined_start(Protocol.printed(), 0, "copied", {})
    assert str(raised.value) == (
        "condition must be one of 'new', 'transfer', 'multigrid', got 'copied'."
    )


def test_help_lists_every_field_with_its_type_and_default():
    for name, item in FIELDS.items():
        line = next(x for x in Protocol.__doc__.split("\n") if x.strip().startswith(f"{name} : "))
        assert line.endswith(f", default {item.default!r}")
        assert f" : {KIND[name].__name__}," in line or " : {" in line


@pytest.mark.parametrize("tier", TIERS)
def test_tiers_change_sizes_alone(tier):
    p = Protocol.printed(tier, dataset="strokes")
    changed = {n for n, v in p.to_json().items() if v != getattr(Protocol.printed(), n)}
    sizes = {"n_coarse", "n_fine", "n_validation", "coarse_epochs", "fine_epochs", "subset"}
    assert changed <= sizes | {"tier", "dataset", "dtype", "resolution"}
    assert p.tier == tier


def test_every_choice_names_its_source_and_unstated_ones_a_reason():
    for name, default, source, why in Protocol.sources():
        assert default == FIELDS[name].default
        assert source.startswith("§") or source in ("unstated", "ours"), name
        assert why or source != "unstated", name


def test_round_trip_through_json():
    p = Protocol.printed(**{n: v for n, v in OTHER.items() if n not in ("tier", "dataset")},
                         dataset="strokes")  # fmt: skip
    assert Protocol.from_json(json.loads(json.dumps(p.to_json()))) == p
    older = {n: v for n, v in p.to_json().items() if n != "smoothness_h"}
    assert Protocol.from_json(older) == p.changed(smoothness_h=1.0)


@pytest.mark.parametrize("name", FIELDS)
def test_key_changes_with_every_field_but_the_name(name):
    p = Protocol.printed(dataset="strokes")
    assert OTHER[name] != getattr(p, name)
    other = p.changed(**{name: OTHER[name]})
    assert (other.key() == p.key()) == (name == "name")
    assert other.key(name) != p.key(name)
    rest = [n for n in FIELDS if n != name]
    assert other.key(*rest) == p.key(*rest)


# Choices that came after the first records.
LATER = [name for name, item in FIELDS.items() if "later" in item.metadata]


def test_records_made_before_a_choice_was_added_keep_their_key():
    """The key is that of the fields there were, computed here by hand."""
    assert set(LATER) == {
        "retraining", "newton", "hessian", "classifier_epochs", "cg_iterations", "trust_radius",
        "newton_epoch", "product_cost", "momentum_rule",
    }  # fmt: skip
    p = study_protocol("strong-original")
    assert p.key().startswith("0de15f0533b7")  # as the trials of that record have it
    first = [name for name in FIELDS if name not in LATER and name != "name"]
    assert p.key() == p.key(*first)
    older = {name: value for name, value in p.to_json().items() if name not in LATER}
    assert Protocol.from_json(older) == p


@pytest.mark.parametrize("name", LATER)
def test_a_later_choice_counts_where_it_differs_from_its_default(name):
    p = Protocol.printed(dataset="strokes")
    keys = {p.key()}
    for other in (OTHER[name], FIELDS[name].default):
        keys.add(p.changed(**{name: other}).key())
    assert len(keys) == 2
    both = p.changed(**{name: OTHER[name]}, seed=1)
    assert both.key() not in keys  # and the others still do


@pytest.mark.parametrize(
    "folder", sorted(f.parent for f in RECORDS.glob("*/protocol.json")), ids=lambda f: f.name
)
def test_trials_of_the_committed_records_carry_the_key_of_their_protocol(folder):
    record = Record(folder)
    for number in record.numbers():
        file = folder / f"trial-{number:03d}.json"
        assert json.loads(file.read_text("utf-8"))["protocol"] == record.protocol.key()


def test_only_newtons_methods_are_said_to_use_one():
    for retraining, uses in (("sgd", False), ("classifier", True), ("joint", True)):
        assert bool(Protocol.printed(retraining=retraining).newton_method) is uses


def test_key_does_not_depend_on_how_a_number_was_written_or_fields_were_ordered():
    assert Protocol.printed(momentum=1).key() == Protocol.printed(momentum=1.0).key()
    p = Protocol.printed()
    assert p.key("batch", "seed") == p.key("seed", "batch")


CHOICES = [name for name, item in FIELDS.items() if item.metadata["accepted"]]
NUMBERS = [name for name, kind in KIND.items() if kind in (int, float)]
TYPED = [name for name in FIELDS if name not in CHOICES]


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("value", ["colossal", 3, None, True])
def test_unknown_choices_are_refused(name, value):
    options = ", ".join(repr(option) for option in FIELDS[name].metadata["accepted"])
    assert refusal(**{name: value}) == f"{name} must be one of {options}, got {value!r}."


@pytest.mark.parametrize("name", TYPED)
def test_wrong_types_are_refused(name):
    bad = {int: ("many", 2.5, True, None), float: ("0.1", True, None), bool: (1, "yes", None),
           str: (3, None)}[KIND[name]]  # fmt: skip
    for value in bad:
        sentence = f"{name} must be of type {KIND[name].__name__}, got {value!r}."
        assert refusal(**{name: value}) == sentence


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_out_of_range_are_refused(name):
    bad = {int: [-1] + [0] * (name != "seed"), float: [-0.1, math.inf, math.nan]}[KIND[name]]
    for value in bad:
        sentence = refusal(**{name: value})
        assert sentence.startswith(f"{name} must be finite and at least ")
        assert sentence.endswith(f", got {value!r}.") and "\n" not in sentence


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"resolution": 27}, "resolution must be at least 8 and a multiple of 2 with "
         "pooling=False, because both grids need whole cells, got 27."),
        ({"resolution": 6}, "resolution must be at least 8 and a multiple of 2 with "
         "pooling=False, because both grids need whole cells, got 6."),
        ({"resolution": 26, "pooling": True}, "resolution must be at least 8 and a multiple of 4 "
         "with pooling=True, because both grids need whole cells, got 26."),
        ({"dataset": "mnist", "resolution": 32},
         "resolution must be 28 with dataset='mnist', got 32."),
        ({"batch": 20_000}, "batch must be at most n_coarse=40000 and n_fine=10000, got 20000."),
        ({"learning_rate": 0}, "learning_rate must be greater than 0, got 0.0."),
    ],
)  # fmt: skip
def test_choices_that_do_not_go_together_are_refused(changes, sentence):
    assert refusal(**changes) == sentence


@pytest.mark.parametrize("make", [Protocol.printed, Protocol.calibrated])
def test_unknown_tiers_are_refused(make):
    with pytest.raises(ValueError) as raised:
        make("colossal")
    assert str(raised.value) == "tier must be one of 'smoke', 'class', 'paper', got 'colossal'."


def test_a_description_that_is_no_protocol_is_refused():
    with pytest.raises(ValueError) as raised:
        Protocol.from_json([1])
    assert str(raised.value) == "A protocol must be an object, got a list."
    with pytest.raises(ValueError) as raised:
        Protocol.from_json({"colour": "red"})
    assert str(raised.value) == (
        "protocol has the unknown field 'colour'. A newer version of mgcore may have written it."
    )


def test_protocols_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Protocol.printed().batch = 16
