"""The table: every part runs on a tiny case, medians are taken, the record is checksummed."""

import pytest

from mgcore.lab.cost import newton, rates, whole_study
from mgcore.lab.cost.newton import Race, newton_rows
from mgcore.lab.cost.rates import Row, rate_rows, surface_rows
from mgcore.lab.cost.table import PARTS, bench, read, show, write
from mgcore.lab.cost.whole_study import (
    compare_with_plain_script,
    newton_memory,
    study_flops,
    study_rows,
)  # fmt: skip
from mgcore.lab.protocol import Protocol
from mgcore.lab.records.files import RecordError


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    """Stay in this process, and compare with what takes a moment."""
    for module in (rates, whole_study):
        monkeypatch.setattr(module, "everywhere", lambda function, *given: [function(*given)])
    monkeypatch.setattr(whole_study, "cores", lambda: 1)
    monkeypatch.setattr(newton, "product_costs", lambda budget: [])


@pytest.mark.parametrize(("measure", "count"), [(rate_rows, 10), (surface_rows, 2)])
def test_rates_are_positive_and_ratios_name_their_reference(measure, count):
    rows = measure(0.0, 8)
    assert all(row.value > 0 and row.unit == "GFLOP/s" for row in rows)
    assert all((row.ratio is None) == (not row.to) for row in rows)
    names = [row.name for row in rows]
    assert len(set(names)) == len(names) == count
    if measure is rate_rows:
        assert {"training, 8×8, pooling", "bare step, 4×4, no pooling"} <= set(names)


@pytest.mark.slow
def test_a_study_is_measured_beside_its_bare_steps(monkeypatch):
    monkeypatch.setattr(whole_study, "newton_memory", lambda *_: 1.25)
    rows = {(row.name, row.to): row for row in study_rows(0.0, (64, 64, 32), 64, 8)}
    whole = rows["a whole study", "bare steps"]
    bare = rows["bare steps, weighted as in the study", "1 × SGEMM alone"]
    assert 0 < whole.ratio == pytest.approx(whole.value / bare.value)
    assert 0 < rows["evaluation, share of the trials' time", ""].value < 100
    assert 0.1 < rows["peak of a process, SGD", ""].value < 4


@pytest.mark.slow
def test_the_memory_of_the_newton_phase_is_measured_in_a_process_of_its_own():
    assert 0.1 < newton_memory(64, 8) < 4


def test_a_systems_missing_count_of_memory_leaves_the_rows_out(monkeypatch):
    monkeypatch.setattr(whole_study, "resource", None)
    monkeypatch.setattr(whole_study, "study_rate", lambda p: (1.0, 0.5, whole_study.peak_memory()))
    monkeypatch.setattr(whole_study, "newton_memory", lambda *_: whole_study.peak_memory())
    rows = study_rows(0.0, (64, 64, 32), 64, 8)
    assert [row.part for row in rows] == ["study"] * 4


def test_the_work_of_a_study_is_that_of_its_trials_and_of_one_set_of_figures():
    protocol = Protocol.printed("smoke", dataset="strokes")
    one, two, three = (study_flops(protocol, trials) for trials in (1, 2, 3))
    assert 0 < two - one < one and three - two == pytest.approx(two - one)


def test_four_trials_stand_beside_four_of_the_plain_script():
    """With one thread each, so as not to be in the way of other tests."""
    found = compare_with_plain_script("fine", True, count=64, epochs=1, resolution=8, threads=1)
    assert (found.resolution, found.threads) == (8, 1)
    assert found.ours > 0 < found.plain
    assert all(0 <= rate <= 100 for rate in (found.our_accuracy, found.plain_accuracy))


def test_a_plain_script_that_stops_gets_one_sentence(monkeypatch, tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit('no such image')\n")
    monkeypatch.setattr(whole_study.plain_script, "__file__", str(broken))
    with pytest.raises(ValueError, match="The plain script failed: no such image"):
        compare_with_plain_script("coarse", False, count=64, epochs=1, resolution=8, threads=1)


def test_a_step_is_held_against_the_rival(monkeypatch):
    races = [Race("theirs", 4.0, 2, 9), Race("ours", 3.0, 3, 9)]
    monkeypatch.setattr(newton, "race", lambda count: races)
    rows = newton_rows(0.0)
    assert [(row.value, row.ratio) for row in rows] == [(2000.0, 1.0), (1000.0, 2.0)]


def test_runs_are_repeated_and_medians_kept(monkeypatch, tmp_path):
    drawn = iter([3.0, 1.0, 2.0])

    def part():
        value = next(drawn)
        return [Row("p", "speed", value, "GFLOP/s", value / 4, "SGEMM alone"),
                Row("p", "size", 2 * value, "GiB")]  # fmt: skip

    monkeypatch.setitem(PARTS, "rates", part)
    rows = bench(("rates",), repeats=3)
    assert [(row.value, row.ratio) for row in rows] == [(2.0, 0.5), (4.0, None)]
    text = show(rows).splitlines()
    assert text[0].split() == ["speed", "2", "GFLOP/s", "0.50", "of", "SGEMM", "alone"]
    assert text[1].split() == ["size", "4", "GiB"]
    write(tmp_path / "bench" / "table.json", rows, 3)
    again, about = read(tmp_path / "bench" / "table.json")
    assert again == rows and about["runs"] == 3
    assert "cores" in about["machine"] and len(about["date"]) == 10 and about["load"] >= 0
    file = tmp_path / "bench" / "table.json"
    file.write_text(file.read_text().replace("0.5", "0.9"))
    with pytest.raises(RecordError, match="table.json is truncated or altered"):
        read(file)


def test_an_unknown_part_gets_one_sentence():
    with pytest.raises(ValueError) as raised:
        bench(("speed",))
    assert str(raised.value).startswith("part must be one of 'rates', 'study', 'plain', ")
