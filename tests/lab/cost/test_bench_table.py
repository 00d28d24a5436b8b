"""The table: every part runs on a tiny case, medians are taken, the record is checksummed."""

import pytest

from mgcore.lab.cost import bench_study, bench_table
from mgcore.lab.cost.bench_newton import Race
from mgcore.lab.cost.bench_study import duel, measure_flops, study_rate
from mgcore.lab.cost.bench_table import PARTS, Row, Size, bench, read, show, write
from mgcore.lab.protocol import Protocol
from mgcore.lab.records.files import RecordError

TINY = Size(0.0, 64, 1, (64, 64, 32), 64, 40, 8)


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    """Stay in this process, and compare with what takes a moment."""
    for module in (bench_table, bench_study):
        monkeypatch.setattr(module, "cores", lambda: 1)
        monkeypatch.setattr(module, "everywhere", lambda function, *given: [function(*given)])
    monkeypatch.setattr(bench_table, "product_costs", lambda budget: [])
    monkeypatch.setattr(bench_table, "newton_memory", lambda *_: 1.25)


@pytest.mark.parametrize("part", ["rates", "surfaces"])
def test_rates_are_positive_and_named_with_what_they_are_a_ratio_to(part):
    rows = bench((part,), size=TINY)
    assert all(row.value > 0 and row.unit == "GFLOP/s" for row in rows)
    assert all((row.ratio is None) == (not row.to) for row in rows)
    names = [row.name for row in rows]
    assert len(set(names)) == len(names) == {"rates": 10, "surfaces": 2}[part]
    if part == "rates":
        assert {"training, 8×8, pooling", "bare step, 4×4, no pooling"} <= set(names)


@pytest.mark.slow
def test_a_study_is_measured_beside_its_bare_steps():
    rows = {(row.name, row.to): row for row in bench(("study",), size=TINY)}
    whole = rows["a whole study", "bare steps"]
    bare = rows["bare steps, weighted as in the study", "1 × SGEMM alone"]
    assert 0 < whole.ratio == pytest.approx(whole.value / bare.value)
    assert 0 < rows["evaluation, share of the trials' time", ""].value < 100
    assert 0.1 < rows["peak of a process, SGD", ""].value < 4


def test_the_rate_of_a_study_counts_training_and_every_evaluation(monkeypatch):
    protocol = Protocol.printed("smoke", dataset="strokes")
    work = measure_flops(protocol, 2)
    assert work > 0 and measure_flops(protocol, 4) < 2 * work  # figures are of one trial
    assert study_rate.__doc__ and "record included" in study_rate.__doc__


def test_four_trials_stand_beside_four_of_the_plain_script():
    """With one thread each, so as not to be in the way of other tests."""
    found = duel("fine", True, count=64, epochs=1, resolution=8, threads=1)
    assert (found.resolution, found.threads) == (8, 1)
    assert found.ours > 0 < found.plain
    assert all(0 <= rate <= 100 for rate in (found.our_accuracy, found.plain_accuracy))


def test_a_plain_script_that_stops_gets_one_sentence(monkeypatch, tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit('no such image')\n")
    monkeypatch.setattr(bench_study.plain_script, "__file__", str(broken))
    with pytest.raises(ValueError, match="the plain script stopped: no such image"):
        duel("coarse", False, count=64, epochs=1, resolution=8, threads=1)


def test_a_step_is_held_against_the_rival(monkeypatch):
    races = [Race("theirs", 4.0, 2, 9), Race("ours", 3.0, 3, 9)]
    monkeypatch.setattr(bench_table, "race", lambda count: races)
    rows = bench(("newton",), size=TINY)
    assert [(row.value, row.ratio) for row in rows] == [(2000.0, 1.0), (1000.0, 2.0)]


def test_runs_are_repeated_and_medians_kept(monkeypatch, tmp_path):
    drawn = iter([3.0, 1.0, 2.0])

    def part(size):
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
    assert str(raised.value).startswith("part='speed'; accepted: 'rates', 'study', 'plain', ")
