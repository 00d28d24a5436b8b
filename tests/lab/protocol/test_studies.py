"""The named studies: their protocols, what they share, and what is refused."""

import pytest

from mgcore.data.images import DATASETS
from mgcore.lab import STUDIES, Protocol, study_protocol
from mgcore.lab.cli import main
from mgcore.lab.pages.study_page import check_choice
from mgcore.lab.protocol.studies import describe
from mgcore.lab.trial.trial import COARSE_FIELDS

PACKAGE = {"newton": "meganet"}
# What each name says beside the pair original or prolonged.
MEANT = {
    "baseline": {}, "strong": None, "medium": None, "pooling": {"pooling": True},
    "classifier-unpooled": {"retraining": "classifier"},
    "classifier-pooled": {"retraining": "classifier", "pooling": True},
    "classifier-package": {"retraining": "classifier", "pooling": True} | PACKAGE,
    "joint-pooled": {"retraining": "joint", "pooling": True},
    "joint-unpooled": {"retraining": "joint"},
    "joint-package": {"retraining": "joint", "pooling": True} | PACKAGE,
    "joint-literal": {"retraining": "joint", "pooling": True, "newton_epoch": "pass"},
    "no-smoothness": {"alpha_fine": 0.0, "alpha_coarse": 0.0}, "no-dct": {"dct_cutoff": 1e6},
    "printed-baseline": {}, "printed-pooling": {"pooling": True},
}  # fmt: skip


def meant(study):
    """The changes that the name of a study stands for."""
    start, _, prepared = study.rpartition("-")
    if prepared in ("original", "prolonged"):
        return None if MEANT[start] is None else MEANT[start] | {"fine_training": prepared}
    optimizer = study.startswith(("classifier", "joint"))
    return MEANT[study] | ({"fine_training": "prolonged"} if optimizer else {})


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_is_a_named_protocol_and_what_its_name_says(study):
    p, named = study_protocol(study), Protocol.calibrated
    if study.startswith("printed"):
        named = Protocol.printed
    changes = meant(study)
    if changes is None:  # test_calibration holds these against the record
        names = ("penalty_scale", "momentum", "stencil_scale", "normalisation")
        changes = dict(zip(("name", "fine_training"), study.split("-"), strict=True))
        changes |= {name: getattr(p, name) for name in names}
        assert p.key() != Protocol.calibrated(fine_training=p.fine_training).key()
        assert p.penalty_scale == {"strong": 1.0, "medium": 1 / 16}[p.name]
    assert p == named(**changes)
    small = study_protocol(study, "smoke", "strokes", 3)
    assert small == named("smoke", dataset="strokes", seed=3, **changes)
    assert p.fine_validation == "original" and p.tier == "paper" and p.dataset == "mnist"


def test_every_study_is_another():
    assert len({study_protocol(study).key() for study in STUDIES}) == len(STUDIES)


@pytest.mark.parametrize("study", [s for s in STUDIES if study_protocol(s).newton_method])
def test_an_optimizer_study_shares_the_coarse_networks_of_a_baseline(study):
    """And every start: nothing differs but how the fine networks are trained."""
    p = study_protocol(study)
    baseline = study_protocol("pooling-prolonged" if p.pooling else "baseline-prolonged")
    assert p.key(*COARSE_FIELDS) == baseline.key(*COARSE_FIELDS)
    assert p.key() != baseline.key()
    sgd = p.changed(
        retraining="sgd", newton="steihaug", newton_epoch="work", hessian="full", name=baseline.name
    )
    assert sgd == baseline


def test_other_finalists_and_the_printed_have_coarse_networks_of_their_own():
    keys = {study_protocol(s).key(*COARSE_FIELDS)
            for s in ("baseline-original", "strong-original", "medium-original",
                      "printed-baseline")}  # fmt: skip
    assert len(keys) == 4
    for name in ("baseline", "pooling", "strong"):
        one, other = (study_protocol(f"{name}-{how}") for how in ("original", "prolonged"))
        assert one.key(*COARSE_FIELDS) == other.key(*COARSE_FIELDS)


def test_fashion_mnist_is_selectable_wherever_mnist_is(tmp_path, monkeypatch, capsys):
    """In a protocol, a chapter's parameters and on the command line; where absent, a sentence."""
    p = study_protocol("pooling-original", "class", "fashion-mnist")
    assert p == study_protocol("pooling-original", "class").changed(dataset="fashion-mnist")
    assert check_choice("pooling-original", "class", dataset="fashion-mnist") == p
    monkeypatch.setenv("MGCORE_DATA", str(tmp_path))
    command = "run pooling-original --tier class --trials 2 --workers 1 --quiet".split()
    command += ["--dataset", "fashion-mnist", "--record", str(tmp_path / "record")]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert f"dataset='fashion-mnist' is not in {tmp_path}/FashionMNIST/raw and" in said
    assert said.endswith("choose dataset='strokes', which needs no file.\n")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"study": "everything"}, f"study must be one of {', '.join(map(repr, STUDIES))}, got "
         "'everything'."),
        ({"tier": "colossal"}, "tier must be one of 'smoke', 'class', 'paper', got 'colossal'."),
        ({"dataset": "postcards"}, f"dataset must be one of {', '.join(map(repr, DATASETS))}, got "
         "'postcards'."),
        ({"seed": -1}, "seed must be finite and at least 0, got -1."),
        ({"seed": "many"}, "seed must be of type int, got 'many'."),
        ({"tier": "smoke", "dataset": "mnist"}, "resolution must be 28 with dataset='mnist', got "
         f"{Protocol.printed('smoke', dataset='strokes').resolution}."),
    ],
)  # fmt: skip
def test_bad_input_gets_one_sentence(arguments, sentence):
    with pytest.raises(ValueError) as raised:
        study_protocol(**({"study": "baseline-original"} | arguments))
    assert str(raised.value) == sentence


def test_a_study_without_a_table_of_the_thesis_is_listed(monkeypatch, capsys):
    monkeypatch.setitem(STUDIES, "narrow-original", {"pooling": True})
    assert describe("narrow-original") == ("beyond the thesis", "pooling", "original")
    assert main(["list"]) == 0 and "narrow-original" in capsys.readouterr().out
