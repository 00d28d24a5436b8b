"""What the experiment chapters conclude, in words and with intervals, held against the records."""

import json
from statistics import fmean

import numpy as np
import pytest
from quoted import ROOT, check_spread, gap, geometric, glued, pairs, rows, trials
from scipy.stats import t as student

CONDITIONS = ("new", "transfer", "multigrid")


@pytest.mark.parametrize(
    "chapter, key, study",
    [("baseline", "prolonged-rest", "baseline"), ("pooling", "rest-unpooled", "baseline"),
     ("pooling", "rest-pooled", "pooling")],
)  # fmt: skip
def test_what_is_left_of_the_gap_on_images_prepared_alike(chapter, key, study):
    left = [
        rows(metrics["multigrid"], "last")["training_accuracy"]
        - measures["preparation"]["multigrid"]["prolonged"]
        for metrics, measures in pairs(f"{study}-prolonged-paper")
    ]
    check_spread(glued(ROOT / "book" / f"{chapter}.ipynb")[key], left)
    assert 0 < fmean(left) < 5  # "most of it" is gone, but not all


def test_gaps_pasted_with_their_intervals_are_the_records():
    found = glued(ROOT / "book" / "pooling.ipynb")
    for place, study in (("unpooled", "baseline"), ("pooled", "pooling")):
        for how in ("original", "prolonged"):
            each = [gap(m, "multigrid", "last") for m in trials(f"{study}-{how}-paper")]
            check_spread(found[f"gap-{place}-{how}"], each)
            if how == "original":  # "with no error left on training images"
                ends = [rows(m["multigrid"], "last") for m in trials(f"{study}-{how}-paper")]
                assert fmean(row["training_accuracy"] for row in ends) > 99.9


def test_the_curvature_with_pooling_is_read_as_it_is():
    found = glued(ROOT / "book" / "pooling.ipynb")
    logs = {"curvature": [], "rayleigh": [], "loss": [], "relative": []}
    for pooled, plain in zip(
        trials("pooling-original-paper", "measures"), trials("baseline-original-paper", "measures"),
        strict=True,
    ):  # fmt: skip
        each = []
        for one in (pooled["landscape"]["coarse"], plain["landscape"]["coarse"]):
            bend = fmean(one["curvature"])
            each.append([bend, bend / one["length"] ** 2, one["loss"], bend / one["loss"]])
        for name, a, b in zip(logs, *each, strict=True):
            logs[name].append(a / b)
    for name, ratios in logs.items():
        assert float(found[f"quotient-{name}"]) == pytest.approx(geometric(ratios), abs=0.00501)
    assert float(found["quotient-curvature"]) > 1 > float(found["quotient-relative"])


def test_maps_are_clearer_with_pooling_for_multigrid_alone():
    clear = {
        what: {
            study: {
                arm: fmean(
                    m["survival"][arm]["conv2"][what]
                    for m in trials(f"{study}-original-paper", "measures")
                )
                for arm in CONDITIONS
            }
            for study in ("pooling", "baseline")
        }
        for what in ("mean", "best")
    }
    mean, best = (
        {arm: clear[what]["pooling"][arm] - clear[what]["baseline"][arm] for arm in CONDITIONS}
        for what in ("mean", "best")
    )
    assert max(abs(mean["new"]), abs(mean["transfer"])) < 0.02 and mean["multigrid"] > 0.05
    assert -0.03 < min(best["new"], best["transfer"]) and max(best["new"], best["transfer"]) < 0
    assert abs(best["multigrid"]) < 0.02


def test_what_the_first_stage_changes_is_the_records():
    found = glued(ROOT / "book" / "optimizers.ipynb")
    for place in ("unpooled", "pooled"):
        metrics = trials(f"classifier-{place}-paper")
        runs = [m["multigrid_classifier"] for m in metrics]
        gaps = [
            gap(m, "multigrid_classifier", "last") - gap(m, "multigrid_classifier", "0")
            for m in metrics
        ]
        check_spread(found[f"stage-{place}-gap"], gaps)
        rise = [r[-1]["validation_accuracy"] - r[0]["validation_accuracy"] for r in runs]
        check_spread(found[f"stage-{place}-validation"], rise)
        for arm in ("new", "multigrid"):
            none = sum(not m[f"{arm}_classifier"][1]["accepted"] for m in metrics)
            assert found[f"refused-{place}-{arm}"].strip("'") == f"{none} of {len(metrics)}"
        # "is there before this stage, and stays"
        assert fmean(gap(m, "multigrid_classifier", "0") for m in metrics) > 15
        assert fmean(gap(m, "multigrid_classifier", "last") for m in metrics) > 15
    protocol = json.loads((ROOT / "book/records/classifier-pooled-paper/protocol.json").read_text())
    steps = protocol["protocol"]["n_fine"] // protocol["protocol"]["batch"]
    text = found["sgd-steps"].strip("'").replace(",", "")
    assert int(text) == steps * protocol["protocol"]["fine_epochs"]


def test_what_the_optimizers_chapter_concludes_in_words_is_what_its_records_say():
    def ends(study, arm):
        return [rows(m[arm], "last")["validation_accuracy"] for m in trials(f"{study}-paper")]

    def above(a, b):  # of trials with the same number
        return [x - y for x, y in zip(a, b, strict=False)]

    for arm in ("new", "transfer", "multigrid"):
        sgd = ends("pooling-prolonged", arm)
        worse = above(sgd, ends("joint-pooled", arm))
        error = np.std(worse, ddof=1) / len(worse) ** 0.5
        assert fmean(worse) > student.ppf(0.975, len(worse) - 1) * error, arm
        assert fmean(above(ends("joint-literal", arm), sgd)) > 0, arm
        plain = above(ends("baseline-prolonged", arm), ends("joint-unpooled", arm))
        error = np.std(plain, ddof=1) / len(plain) ** 0.5
        assert abs(fmean(plain)) < student.ppf(0.975, len(plain) - 1) * error, arm  # "too few"
    trained = {
        study: [
            fmean(rows(m["transfer"], e)["training_accuracy"] for m in trials(f"{study}-paper"))
            for e in ("0", "1", "last")
        ]
        for study in ("joint-pooled", "classifier-pooled")
    }
    joint, sgd = trained.values()
    assert joint[1] < joint[2] < joint[0]
    assert sgd[1] < sgd[0] < sgd[2] and sgd[0] - sgd[1] < joint[0] - joint[1]
    # "a few outer iterations do not solve it"
    ends = [
        m["new_classifier"][-1]["validation_accuracy"] for m in trials("classifier-unpooled-paper")
    ]
    assert fmean(ends) < 60


def test_a_smaller_gap_needs_refined_stencils_as_well():
    metrics = trials("baseline-original-paper")
    carried = {a: fmean(gap(m, a, "last") for m in metrics) for a in ("transfer", "multigrid")}
    assert 2 * carried["transfer"] < carried["multigrid"] < 10
    last = {
        a: fmean(rows(m[a], "last")["validation_accuracy"] for m in metrics)
        for a in ("new", "transfer", "multigrid")
    }
    assert last["multigrid"] < min(last["new"], last["transfer"])  # "worst too"
    rest = {
        study: fmean(
            rows(m["multigrid"], "last")["training_accuracy"]
            - measures["preparation"]["multigrid"]["prolonged"]
            for m, measures in pairs(f"{study}-prolonged-paper")
        )
        for study in ("baseline", "pooling")
    }
    assert rest["pooling"] > rest["baseline"]  # pooling takes nothing from this part
