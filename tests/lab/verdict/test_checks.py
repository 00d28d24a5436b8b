"""The list of checks, and the two on the classifier, with operators that are wrong on purpose."""

import re

import pytest
import torch

from mgcore.kernels import refine_classifier
from mgcore.lab.verdict import checks
from mgcore.lab.verdict.checks_background import WORDS

EXPECTED = {
    "operator-limit": "corrected",
    "relaxation-smooths": "reproduced",
    "four-times-cheaper": "reproduced",
    "coarse-stencil-size": "corrected",
    "geometric-or-algebraic": "corrected",
    "prolongation-restriction": "corrected",
    "galerkin-exact": "corrected",
    "classifier-factor": "reversed",
    "penalty-factor": "reversed",
    "weights-count": "corrected",
    "bias-terms": "not decidable",
}


def carried(times, default=None):
    """Return a classifier's refinement that is `times` too large, with another default factor."""

    def refine(weight, shape, prolongation="bilinear", scale=None):
        scale = default if scale is None else scale
        return times * refine_classifier(weight, shape, prolongation, scale)

    return refine


def test_every_statement_is_there_once():
    assert set(checks.CHECKS) == {*EXPECTED, "discontinuous-images"}


@pytest.mark.parametrize("name", checks.CHECKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
def test_findings_are_one_line_whatever_the_default_dtype(name, dtype):
    before, given = torch.get_default_dtype(), checks.CHECKS[name]()
    torch.set_default_dtype(dtype)
    try:
        assert checks.CHECKS[name]() == given
    finally:
        torch.set_default_dtype(before)
    assert given.word == EXPECTED.get(name, given.word) and given.word in WORDS
    assert "\n" not in given.shown and any(c.isdigit() for c in given.shown)
    assert not given.shown.endswith(".") and "nan" not in given.shown


def test_logits_are_kept_by_a_quarter():
    assert "0.2500 for constant features (they then differ by 0 of" in (
        checks.classifier_factor().shown
    )
    assert "with × 4 the logits are 16.0 times as large" in checks.classifier_factor().shown


@pytest.mark.parametrize(
    ("times", "word"),
    [(1 / 16, "reproduced"), (1 / 8, "corrected"), (1.0, "reversed"), (1 / 2, "reversed")],
)
def test_the_word_on_the_classifier_follows_its_factor(monkeypatch, times, word):
    monkeypatch.setattr(checks, "refine_classifier", carried(times))
    assert checks.classifier_factor().word == word


def test_a_classifier_that_keeps_no_logits_is_no_correction(monkeypatch):
    def shuffled(weight, shape, scale):
        fine = refine_classifier(weight, shape, scale=scale)
        return fine[:, torch.randperm(fine.shape[1], generator=torch.Generator().manual_seed(0))]

    monkeypatch.setattr(checks, "refine_classifier", shuffled)
    assert checks.classifier_factor().word == "not reproduced"


def test_the_penalty_of_the_same_classifier_is_a_sixteenth_or_a_quarter():
    shown = checks.penalty_factor().shown
    found = re.findall(r"([\d.]+) α_fine", shown) + re.findall(r"values, for (.+) and (.+)", shown)
    plain, physical, *values = (float(text) for text in (*found[:2], *found[2]))
    assert plain == pytest.approx(1 / 16, rel=0.1) and physical == pytest.approx(1 / 4, rel=0.1)
    assert values == [pytest.approx(1, rel=0.1), pytest.approx(4, rel=0.1)]


@pytest.mark.parametrize(("default", "word"), [(1.0, "not decidable"), (4.0, "corrected")])
def test_the_word_on_the_penalty_follows_the_factor_of_the_weights(monkeypatch, default, word):
    """Function values ask for 1 or 4, as h is read; the printed × 4 would ask for 16 or 64."""
    monkeypatch.setattr(checks, "refine_classifier", carried(1.0, default))
    assert checks.penalty_factor().word == word
