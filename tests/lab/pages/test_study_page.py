"""The study of a chapter is found or run, on records of the test's own."""

import pytest
from handmade import study

from mgcore.lab.pages import study_page
from mgcore.lab.protocol.studies import study_protocol
from mgcore.lab.records.files import read_json, write_json
from mgcore.lab.records.record import Record
from mgcore.lab.run.study import run_study
from mgcore.lab.trial import measures
from mgcore.lab.verdict.claims import criteria

CLAIM = """
- id: x
  section: "4"
  text: So it is.
  thesis: {value: 1.0, source: Table 4.1}
  studies: [baseline-original]
  difference: [new.last.training, new.last.validation]
  least: 0
"""


@pytest.fixture
def home(tmp_path, monkeypatch, tiny):
    """Be in a project whose class tier is tiny and whose class record holds two trials."""
    (tmp_path / "book" / "records").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(measures, "DIRECTIONS", 1)
    monkeypatch.setattr(measures, "LOSS_IMAGES", {"class": 2})
    monkeypatch.setattr(
        study_page, "study_protocol",
        lambda study, tier, dataset, seed: tiny(
            tier=tier, seed=seed, **({"momentum": 0.5} if "prolonged" in study else {})
        ),
    )  # fmt: skip
    folder = tmp_path / "book" / "records" / "baseline-original-class"
    run_study(tiny(tier="class"), 2, "cpu", record=folder, workers=1, progress=False)
    return tmp_path


def obtain(study="baseline-original", **more):
    given = {"tier": "class", "dataset": "strokes", "device": "cpu", "progress": False} | more
    return study_page.obtain(study, **given)


def test_the_record_is_shown_and_never_written(home):
    folder = home / "book" / "records" / "baseline-original-class"
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    study = obtain()
    assert study.recorded and len(study.trials) == 2
    assert not (home / "_build").exists()
    assert "committed record itself, 2 trials" in str(study_page.agreement_with_record(study))
    assert study_page.freshness(study).startswith("Current")

    again = obtain(trials=1)  # run afresh, and the same trial comes out
    assert not again.recorded and len(again.trials) == 1
    assert again.trials[0]["metrics"] == study.trials[0]["metrics"]
    assert "1 trial with the record's seeds, every metric identical" in str(
        study_page.agreement_with_record(again)
    )

    more = obtain(trials=3)  # two are the record's, one is run
    assert [trial["trial"] for trial in more.trials] == [0, 1, 2]
    assert more.trials[:2] == study.trials
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_what_is_only_compared_with_is_read_where_it_is_recorded(home):
    choice = {"tier": "class", "dataset": "strokes", "device": "cpu"}
    study = study_page.comparison_study("baseline-original", trials=1, **choice)
    assert study.recorded and len(study.trials) == 2 and not (home / "_build").exists()
    other = study_page.comparison_study(
        "baseline-original", trials=1, seed=4, progress=False, **choice
    )
    assert not other.recorded and other.protocol.seed == 4 and len(other.trials) == 1
    file = study.record.folder / "trial-000.json"
    content = read_json(file)
    del content["measures"]  # as in the first records of the class tier
    write_json(file, {key: value for key, value in content.items() if key != "sha256"})
    fresh = study_page.comparison_study("baseline-original", trials=1, progress=False, **choice)
    assert not fresh.recorded and fresh.trials[0]["measures"]


def test_a_run_of_ones_own_is_begun_under_the_criteria_of_the_book(home):
    assert obtain(trials=1).record.criteria == {}  # a book without claims
    (home / "book" / "claims.yml").write_text(CLAIM)
    kept = obtain(trials=1, seed=3).record.criteria
    assert set(kept) == {"x"} and kept == criteria(home / "book" / "claims.yml")


def test_a_study_without_a_record_is_run_and_not_compared(home, monkeypatch):
    monkeypatch.setitem(study_page.DEFAULT_TRIALS, "class", 1)
    study = obtain("baseline-prolonged")
    assert not study.recorded and len(study.trials) == 1
    assert study_page.agreement_with_record(study).agrees is None
    assert str(home) in str(study.record.folder.resolve())


def test_a_record_of_other_behaviour_is_called_stale(home):
    record = Record(home / "book" / "records" / "baseline-original-class")
    values = record.fingerprint
    name = "plain/new/2/training_loss"
    record.fingerprint = values | {name: values[name] * (1 + 1e-6)}
    sentence = study_page.freshness(obtain())
    assert sentence.startswith("STALE") and name in sentence


def test_an_optimizer_study_is_compared_with_its_own_fingerprint(home, tiny, monkeypatch):
    protocol = tiny(tier="class", retraining="classifier", classifier_epochs=1)
    monkeypatch.setattr(study_page, "study_protocol", lambda *given: protocol)
    folder = home / "book" / "records" / "classifier-pooled-class"
    record = run_study(protocol, 1, "cpu", record=folder, workers=1, progress=False)
    study = obtain("classifier-pooled")
    assert study.recorded and study_page.freshness(study).startswith("Current")
    found = study_page.mean_accuracies(study)
    stage = study.trials[0]["metrics"]["new_classifier"][-1]
    assert found["new_classifier-last-validation"] == round(stage["validation_accuracy"], 1)
    assert len(found) == 7 * 3 * 3
    values = record.fingerprint
    name = "classifier/new_classifier/2/training_loss"
    record.fingerprint = values | {name: values[name] * (1 + 1e-6)}
    sentence = study_page.freshness(obtain("classifier-pooled"))
    assert sentence.startswith("STALE") and name in sentence


def test_numbers_are_means_over_trials(home):
    study = obtain()
    each = [t["metrics"]["multigrid"][-1] for t in study.trials]
    gaps = [row["training_accuracy"] - row["validation_accuracy"] for row in each]
    found = study_page.mean_accuracies(study)
    assert found["multigrid-last-gap"] == round(sum(gaps) / 2, 1)
    assert len(found) == 4 * 3 * 3
    box = study_page.provenance(study)
    assert box["trials"] == "2" and box["shown"] == "the committed record"


@pytest.mark.parametrize(
    "given, words",
    [
        ({"trials": 0}, ("trials must be a positive integer", "got 0")),
        ({"trials": True}, ("trials must be", "got True")),
        ({"trials": "many"}, ("trials must be", "got 'many'")),
        ({"device": "abacus"}, ("device", "'abacus'", "'cpu'")),
        ({"dataset": "postcards"}, ("dataset must be one of 'auto'", "'postcards'")),
    ],
)
def test_bad_parameters_are_one_sentence(given, words):
    with pytest.raises(ValueError) as complaint:
        study_page.obtain("baseline-original", **given)
    assert all(word in str(complaint.value) for word in words)


def test_unknown_tiers_and_studies_are_one_sentence():
    for arguments, word in (
        (("baseline-original", "colossal"), "tier must be one of"),
        (("nonsense",), "study must be one of"),
    ):
        with pytest.raises(ValueError, match=word):
            study_protocol(*arguments)


def test_differences_and_ratios_are_taken_trial_by_trial():
    one, other = study(offs=(0.0, 2.0)), study(offs=(4.0, 4.0))
    gaps = study_page.paired_differences(one, "new.last.training", "new.last.validation")
    assert gaps == study_page.values(one, "new.last.gap") == [15.0, 17.0]
    ratio = study_page.geometric_mean_ratio(one, other, "new.last.training")
    assert ratio == pytest.approx((90 * 92) ** 0.5 / 94)
    with pytest.raises(ValueError):
        study_page.geometric_mean_ratio(one, study(offs=(-100.0, 0.0)), "new.last.training")
