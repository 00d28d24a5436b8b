"""One trial: its draws, its conditions, what they share, and what determines them."""

import json

import pytest
import torch

from mgcore.data.images import Digits, load_digits, normalise
from mgcore.grids import prolong, restrict
from mgcore.kernels import refine_kernel
from mgcore.lab.protocol import CONDITIONS
from mgcore.lab.trial import phases
from mgcore.lab.trial import trial as study
from mgcore.lab.trial.phases import stream
from mgcore.lab.trial.trial import COARSE_FIELDS, grid_images, metric_hash, run_trial
from mgcore.thesis.network import refine_weights


def trial(protocol, number=0, **options):
    result = run_trial(protocol, number, **options)
    return result, result["kept"]


@pytest.fixture
def epochs(monkeypatch):
    """A list that grows by (resolution, order) with every epoch trained."""
    seen, train = [], phases.train_epoch

    def watch(objective, weights, velocity, images, labels, order, **options):
        seen.append((objective.resolution, order.tolist()))
        train(objective, weights, velocity, images, labels, order, **options)

    monkeypatch.setattr(phases, "train_epoch", watch)
    return seen


def test_a_trial_draws_disjoint_images_anew(tiny):
    chosen = [trial(tiny(seed=s), number)[1].indices for s, number in ((0, 0), (0, 1), (1, 0))]
    for parts in chosen:
        assert [len(part) for part in parts] == [24, 16, 12]
        assert len(torch.cat(parts).unique()) == 52
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not torch.equal(chosen[one][0], chosen[other][0])


def test_all_arms_see_the_same_order_which_epochs_and_trials_change(tiny, epochs):
    trial(tiny())
    fine = [order for resolution, order in epochs if resolution == 8]
    assert len(epochs) == 12 and len(fine) == 9  # three epochs a phase
    for first, second, third in zip(fine[:3], fine[3:6], fine[6:], strict=True):
        assert first == second == third and sorted(first) == list(range(16))
    assert fine[0] != fine[1] != fine[2]
    first = epochs[:]
    epochs.clear()
    trial(tiny(), 1)
    assert all(a[1] != b[1] for a, b in zip(first, epochs, strict=True))


@pytest.mark.parametrize("changes", [
    {}, {"prolongation": "constant", "classifier_factor": 4.0, "pooling": True},
])  # fmt: skip
def test_arms_start_from_where_the_thesis_says(tiny, changes):
    protocol = tiny(**changes)
    _, kept = trial(protocol)
    coarse, starts = kept.phases["coarse"].weights, kept.starts
    side = 2 if protocol.pooling else 4
    for arm, stencils in (("transfer", "copy"), ("multigrid", "galerkin")):
        expected = refine_weights(
            coarse, side, stencils=stencils, prolongation=protocol.prolongation,
            scale=protocol.classifier_factor,
        )  # fmt: skip
        assert all(torch.equal(starts[arm][k], expected[k]) for k in expected)
    for name in ("conv1.weight", "conv2.weight"):
        assert torch.equal(starts["transfer"][name], coarse[name])
        refined = refine_kernel(coarse[name], protocol.prolongation)
        assert torch.equal(starts["multigrid"][name], refined)
        assert not torch.allclose(starts["new"][name], coarse[name])
    classifier = [starts[arm]["classifier.weight"] for arm in ("transfer", "multigrid")]
    assert torch.equal(*classifier)
    ends = [kept.phases[arm].weights["conv1.weight"] for arm in CONDITIONS]
    assert not torch.equal(ends[1], ends[2]) and not torch.equal(ends[0], ends[1])


@pytest.mark.parametrize("normalisation", ["unit", "standardised"])
@pytest.mark.parametrize("training", ["original", "prolonged"])
@pytest.mark.parametrize("validation", ["original", "prolonged"])
def test_images_are_prepared_as_the_protocol_says(tiny, normalisation, training, validation):
    protocol = tiny(normalisation=normalisation, fine_training=training, fine_validation=validation)
    digits = load_digits("strokes", 52, 8)
    parts = [torch.arange(24), torch.arange(24, 40), torch.arange(40, 52)]
    x = normalise(digits.images, normalisation, torch.float64)
    coarse = grid_images(protocol, digits, parts, "coarse")
    assert torch.equal(coarse.training, restrict(x[:24]))
    assert torch.equal(coarse.validation, restrict(x[40:]))  # of the originals in any case
    fine = grid_images(protocol, digits, parts, "fine")
    visited = prolong(restrict(x))
    assert torch.equal(fine.training, (visited if training == "prolonged" else x)[24:40])
    assert torch.equal(fine.validation, (visited if validation == "prolonged" else x)[40:])
    for kept, first, last in ((coarse, 0, 24), (fine, 24, 40)):
        assert torch.equal(kept.training_labels, digits.labels[first:last])
        assert torch.equal(kept.validation_labels, digits.labels[40:])


def test_a_trial_depends_on_protocol_seed_and_number_alone(tiny):
    torch.manual_seed(1)
    first = [run_trial(tiny(), n)["metrics"] for n in (0, 1)]
    torch.manual_seed(2)
    again = [run_trial(tiny(name="renamed"), n)["metrics"] for n in (1, 0)]
    assert first == again[::-1] and first[0] != first[1]
    assert run_trial(tiny(seed=1), 0)["metrics"] != first[0]
    assert json.loads(json.dumps(first)) == first


def test_an_arm_does_not_depend_on_which_others_run(tiny, epochs):
    whole = run_trial(tiny(), 0)
    assert set(whole["metrics"]) == {"coarse", *CONDITIONS}
    epochs.clear()
    alone = run_trial(tiny(), 0, conditions=("new",))
    assert alone["metrics"] == {"new": whole["metrics"]["new"]}
    assert [resolution for resolution, _ in epochs] == [8, 8, 8]  # no coarse network
    part = run_trial(tiny(), 0, conditions=("multigrid",))
    assert part["metrics"] == {k: whole["metrics"][k] for k in ("coarse", "multigrid")}


# A field that the coarse network does not depend on, and another value of it.
FINE_ONLY = {
    "fine_training": "prolonged", "fine_validation": "prolonged", "prolongation": "constant",
    "classifier_factor": 1.0, "fine_epochs": 2, "alpha_fine": 0.5, "tier": "class",
}  # fmt: skip
# Fields of Newton's methods, and other values of them.
NEWTON_ONLY = {
    "retraining": "joint", "newton": "meganet", "hessian": "gauss-newton", "classifier_epochs": 1,
    "cg_iterations": 2, "trust_radius": 0.5, "newton_epoch": "pass", "product_cost": 1.0,
}  # fmt: skip


def test_fields_are_those_of_the_coarse_network_or_not(tiny):
    names = set(tiny().to_json())
    assert names == set(COARSE_FIELDS) | set(FINE_ONLY) | set(NEWTON_ONLY) | {"name"}
    assert not set(COARSE_FIELDS) & (set(FINE_ONLY) | set(NEWTON_ONLY))


@pytest.mark.parametrize("field", FINE_ONLY)
def test_one_coarse_network_serves_every_study_that_shares_it(tiny, tmp_path, epochs, field):
    first = run_trial(tiny(), 0, cache=tmp_path)
    epochs.clear()
    other = tiny(**{field: FINE_ONLY[field]})
    second = run_trial(other, 0, cache=tmp_path, conditions=("transfer",))
    assert all(resolution == 8 for resolution, _ in epochs)
    assert second["metrics"]["coarse"] == first["metrics"]["coarse"]
    fresh = run_trial(other, 0, conditions=("transfer",))  # and it is what would have been computed
    assert fresh["metrics"] == second["metrics"]


@pytest.mark.parametrize(
    "changes",
    [{"seed": 1}, {"penalty_scale": 0.5}, {"momentum": 0.5}, {"coarse_epochs": 2},
     {"classifier_bias": False}, {"n_fine": 20}, {"subset": 6}, {"dct_cutoff": 3.0}],
)  # fmt: skip
def test_another_coarse_network_is_trained_where_it_differs(tiny, tmp_path, epochs, changes):
    run_trial(tiny(), 0, cache=tmp_path)
    epochs.clear()
    other = tiny(**changes)
    mine = run_trial(other, 0, cache=tmp_path, conditions=("transfer",))
    assert len([r for r, _ in epochs if r == 4]) == other.coarse_epochs
    assert mine["metrics"] == run_trial(other, 0, conditions=("transfer",))["metrics"]


def test_checkpoints_belong_to_a_trial_a_behaviour_and_a_pool(tiny, tmp_path, epochs):
    one = {"coarse": "one", "fine": "one"}
    run_trial(tiny(), 0, cache=tmp_path, code=one)
    epochs.clear()
    run_trial(tiny(), 0, cache=tmp_path, code=one)
    assert not epochs  # all is there
    images, labels = load_digits("strokes", 52, 8).images, load_digits("strokes", 52, 8).labels
    pool = Digits("mine", 1 - images, labels, "another")
    two = {"coarse": "two", "fine": "two"}
    for options in ({"code": two}, {"code": one, "digits": pool}, {"code": None}):
        epochs.clear()
        run_trial(tiny(), 0, cache=tmp_path, **options)
        assert len(epochs) == 12
    epochs.clear()
    run_trial(tiny(), 0, cache=tmp_path, code={"coarse": "one", "fine": "three"})
    assert [resolution for resolution, _ in epochs] == [8] * 9  # the coarse network stays
    epochs.clear()
    run_trial(tiny(), 1, cache=tmp_path, code=one)
    assert len(epochs) == 12


def test_scratch_is_the_checkpoints_of_the_fine_arms(tiny, tmp_path):
    result = run_trial(tiny(), 0, cache=tmp_path)
    files = {str(f) for f in tmp_path.iterdir()}
    assert len(files) == 4 and len(set(result["scratch"])) == 3
    (coarse,) = files - set(result["scratch"])
    assert "coarse" in coarse
    assert run_trial(tiny(), 0)["scratch"] == []


def test_seconds_are_those_of_each_phase_and_the_whole(tiny):
    seconds = run_trial(tiny(), 0)["seconds"]
    assert set(seconds) == {"coarse", *CONDITIONS, "whole"}
    parts = sum(sum(seconds[name].values()) for name in ("coarse", *CONDITIONS))
    assert 0 < parts < seconds["whole"]


STAGES = [f"{arm}_classifier" for arm in CONDITIONS]


@pytest.fixture(scope="module")
def cached(tiny, tmp_path_factory):
    """A cache in which the baseline's trial 0 has been run, and that trial."""
    place = tmp_path_factory.mktemp("cache")
    code = {"coarse": "sgd", "fine": "sgd"}
    return place, run_trial(tiny(), 0, cache=place, code=code)


@pytest.mark.parametrize("retraining", ["classifier", "joint"])
def test_an_optimizer_study_takes_its_coarse_network_from_the_baselines_cache(
    tiny, cached, epochs, retraining
):
    place, baseline = cached
    before = {f.name: f.read_bytes() for f in place.iterdir()}
    changes = NEWTON_ONLY | {"retraining": retraining}
    result = run_trial(tiny(**changes), 0, cache=place, code={"coarse": "sgd", "fine": "newton"})
    assert result["metrics"]["coarse"] == baseline["metrics"]["coarse"]
    assert [r for r, _ in epochs] == ([8] * 9 if retraining == "classifier" else [])  # none at 4×4
    after = {f.name: f.read_bytes() for f in place.iterdir()}
    made = set(after) - set(before)
    assert len(made) == 6 and not any("coarse" in name for name in made)  # two stages an arm
    assert {str(place / name) for name in made} == set(result["scratch"])
    assert {name: after[name] for name in before} == before
    for name in made:
        (place / name).unlink()


def test_the_classifier_is_trained_first_and_the_second_stage_begins_there(tiny):
    protocol = tiny(retraining="classifier", classifier_epochs=2)
    result = run_trial(protocol, 0)
    kept = result["kept"]
    metrics, whole = result["metrics"], ["coarse", *STAGES, *CONDITIONS]
    assert set(metrics) == set(whole) == set(kept.phases)
    assert set(result["seconds"]) == {*whole, "whole"}
    for arm, stage in zip(CONDITIONS, STAGES, strict=True):
        first, second = metrics[stage], metrics[arm]
        assert [len(first), len(second)] == [3, 4]  # with epoch 0
        measured = {k: v for k, v in first[-1].items() if k in second[0] and k != "epoch"}
        assert measured == {k: second[0][k] for k in measured} and len(measured) == 7
        assert first[-1]["work"] > 0 and "work" not in second[-1]
        ended, start = kept.phases[stage].weights, kept.starts[arm]
        for name in ("conv1.weight", "conv2.weight"):
            assert torch.equal(ended[name], start[name].to(ended[name]))
            assert not torch.equal(kept.phases[arm].weights[name], ended[name])
        assert not torch.equal(ended["classifier.weight"], start["classifier.weight"])
    plain = run_trial(tiny(), 0)["kept"]  # the initial weights are the baseline's
    for arm in CONDITIONS:
        for name, w in plain.starts[arm].items():
            assert torch.equal(kept.starts[arm][name], w)


def test_the_second_stage_is_by_the_method_that_the_protocol_names(tiny, epochs):
    plain = run_trial(tiny(retraining="classifier", classifier_epochs=1), 0, conditions=("new",))
    assert [resolution for resolution, _ in epochs] == [8, 8, 8]
    epochs.clear()
    joint = run_trial(
        tiny(retraining="joint", classifier_epochs=1, newton_epoch="pass"), 0, conditions=("new",)
    )["metrics"]
    assert not epochs and all(row["steps"] == 2 for row in joint["new"][1:])
    assert joint["new_classifier"] == plain["metrics"]["new_classifier"]
    assert joint["new"][0] == plain["metrics"]["new"][0]
    # Both stages count their work from nothing.
    assert 0 < joint["new"][1]["work"] < joint["new"][2]["work"]


def test_the_hash_covers_metrics_alone_in_the_order_of_trials():
    trials = [{"trial": n, "metrics": {"new": [{"epoch": 0, "loss": n / 3}]},
               "circumstances": {"date": "2019-05-06"}} for n in range(3)]  # fmt: skip
    digest = metric_hash(trials)
    later = [t | {"circumstances": {"date": "2020-01-01"}} for t in reversed(trials)]
    assert metric_hash(later) == digest
    assert metric_hash(json.loads(json.dumps(trials))) == digest
    assert metric_hash(trials[:2]) != digest
    swapped = [t | {"trial": 2 - t["trial"]} for t in trials]
    assert metric_hash(swapped) != digest
    trials[1]["metrics"]["new"][0]["loss"] += 1e-16
    assert metric_hash(trials) != digest


def test_the_start_is_drawn_for_the_grid(tiny, monkeypatch):
    """Coarse and new networks have the stencils of different draws."""
    seen = []
    draw = study.initial_weights
    monkeypatch.setattr(
        study, "initial_weights",
        lambda n, pooling, generator, **o: seen.append((n, generator.initial_seed()))
        or draw(n, pooling, generator, **o),
    )  # fmt: skip
    run_trial(tiny(seed=3), 2)
    expected = {n: stream(3, 2, "weights", grid).initial_seed()
                for n, grid in ((4, "coarse"), (8, "fine"))}  # fmt: skip
    assert dict(seen) == expected and len(set(expected.values())) == 2
