"""Tables of evidence, on studies made by hand: what stands in a cell, and what is left out."""

from types import SimpleNamespace

import pytest

from mgcore.lab import evidence
from mgcore.lab.chapters import Study
from mgcore.lab.claims import Claim
from mgcore.lab.thesis import TABLE_4_2, TABLE_4_3


def rows(*pairs):
    return [
        {"epoch": n, "training_accuracy": a, "validation_accuracy": b, "products": 2 * (n > 0)}
        for n, (a, b) in enumerate(pairs)
    ]


def trial(number, off=0.0):
    metrics = {}
    for arm in ("new", "transfer", "multigrid"):
        metrics[arm] = rows((10, 10), (80 + off, 70), (90 + off, 75))
        metrics[f"{arm}_classifier"] = rows((5, 5), (40 + off, 30), (50, 35))
        metrics[f"{arm}_classifier"][-1]["work"] = 300.0
    measures = {
        "landscape": {
            name: {"radius": [0.5, 2.0], "curvature": [1.0, 3.0], "length": 10.0, "loss": 0.25}
            for name in ("coarse", "transfer", "multigrid")
        },
        "survival": {
            arm: {"conv2": {"mean": 0.5, "best": 0.9, "silent": 0.125}}
            for arm in ("new", "transfer", "multigrid")
        },
        "preparation": {
            arm: {"original": 60.0 + off, "prolonged": 97.0}
            for arm in ("new", "transfer", "multigrid")
        },
    }
    seconds = {run: {"training": 120.0, "evaluation": 5.0} for run in metrics} | {"whole": 900.0}
    return {
        "trial": number, "metrics": metrics, "measures": measures,
        "circumstances": {"seconds": seconds},
    }  # fmt: skip


def study(name="pooling-original", offs=(0.0, 2.0)):
    record = SimpleNamespace(
        protocol=SimpleNamespace(n_fine=100, resolution=28, pooling=True),
        criteria={"first": "abc", "second": "old"},
    )
    trials = [trial(k, off) for k, off in enumerate(offs)]
    return Study(name, record, trials, recorded=True)


def claim(name="first", **changes):
    fields = {
        "id": name, "section": "4.3", "text": "A statement.", "studies": ("pooling-original",),
        "thesis": 11.8, "source": "Table 4.2", "ratio": False, "least": 2.0, "against": {},
        "sides": ("multigrid.last.training", "multigrid.last.validation"), "fingerprint": "abc",
    }  # fmt: skip
    return Claim(**(fields | changes))


def body(table):
    return {row[0]: list(row[1:]) for row in table.rows}


def test_claims_stand_with_the_thesis_number_and_a_verdict():
    table = evidence.claims_table([claim(), claim("other", studies=("elsewhere",))], {"x": study()})
    ((statement, cells),) = body(table).items()
    assert statement == "A statement. (§4.3)"
    assert cells[0] == "+11.8\n(Table 4.2)"
    assert cells[1].startswith("+16.0 ± ") and cells[1].endswith("reproduced")
    by_eye = evidence.claims_table([claim(thesis=None)], {"x": study()})
    assert body(by_eye)["A statement. (§4.3)"][0] == "by eye\n(Table 4.2)"


def test_a_claim_against_another_study_takes_it_from_there():
    crossed = claim(
        sides=("against:multigrid.last.gap", "multigrid.last.gap"),
        against={"pooling-original": "baseline-original"},
    )
    other = study("baseline-original", (30.0, 32.0))
    found = evidence.verdicts([crossed], {"x": study()}, {"baseline-original": other})
    assert found["first"]["x"].estimate == pytest.approx(30.0)


def test_criteria_count_as_before_only_where_the_fingerprint_is_the_records():
    claims = [claim(), claim("second"), claim("third"), claim("away", studies=("elsewhere",))]
    said = evidence.before_or_after(claims, study())
    assert said == "pooling-original: 1 of 3 criteria stood before its record was begun."


def test_measures_are_geometric_means_over_directions_and_means_over_trials():
    cells = body(evidence.landscape_table({"x": study()}))["x\nmultigrid"]
    assert cells == ["1.00 ± 0.00", "10.0 ± 0.0", "2.00 ± 0.00", "0.25 ± 0.00"]
    assert body(evidence.survival_table({"x": study()}))["x\nnew"][0] == "0.500 ± 0.000"
    alone = evidence.preparation_table({"x": study(offs=(1.0,))})
    assert body(alone)["x\ntransfer"] == ["61.0", "97.0"]


def test_the_optimizer_table_has_the_six_columns_of_the_thesis():
    table = evidence.optimizer_table(study(offs=(1.0,)).trials, TABLE_4_3)
    cells = body(table)["multigrid"]
    ours = [text.split("\n")[0] for text in cells]
    assert ours == ["41.0", "30.0", "35.0", "81.0", "70.0", "75.0"]
    printed = [text.split("\n")[1] for text in cells]
    assert printed[2] == "thesis 38.3" and printed[5] == "thesis 62.4"


def test_work_is_counted_in_epochs_of_sgd():
    cells = body(evidence.work_table({"x": study()}))
    # 300 and 200 gradients of 23.3 million operations each; 2 minutes a trial, 20 of them.
    assert cells["x\nnew, classifier"] == ["3.0", "4", "0.01", "2.0", "0.67"]
    assert cells["x\nnew"] == ["2.0", "4", "0.00", "2.0", "0.67"]  # rows of SGD count epochs
    large = study()
    large.protocol.n_fine = 10_000
    assert body(evidence.work_table({"x": large}))["x\nnew"][2] == "0.47"


def test_a_quotient_without_meaning_is_left_open():
    curved = claim(
        sides=("landscape.coarse.curvature", "landscape.transfer.curvature"), ratio=True, least=1.0
    )
    flat = study()
    for one in flat.trials:
        one["measures"]["landscape"]["coarse"]["curvature"] = [-1.0, 0.5]
    assert evidence.verdicts([curved], {"x": flat, "y": study()})["first"].keys() == {"y"}


def test_a_study_beside_the_chapters_comes_from_its_record_or_not_at_all(monkeypatch):
    record = SimpleNamespace(trials=lambda: [trial(0), trial(1, off=2.0)])
    recorded = {"paper": record}
    monkeypatch.setattr(evidence, "committed", lambda name, tier: recorded.get(tier))
    table, said = evidence.recorded_table("printed-pooling", "paper", TABLE_4_2, "As printed.")
    assert said["multigrid-last-training"] == "91.0" and said["new-last-gap"] == "16.0"
    assert table.caption.startswith("As printed.") and "2 trials" in table.caption
    assert evidence.recorded_table("printed-pooling", "class", TABLE_4_2) == (
        "printed-pooling: not recorded at the class tier.", {},
    )  # fmt: skip
