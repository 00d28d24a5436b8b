"""What is missing is run, and what is there is left alone."""

import json

import pytest

from mgcore.lab.records.files import read_json
from mgcore.lab.run.pending import run_missing


def square(number):
    if number > 3:
        raise ValueError(f"number={number}; accepted: at most 3.")
    return {"square": number**2}


def jobs(folder, *numbers):
    return [(folder / "deep" / f"{number}.json", (number,)) for number in numbers]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_call_runs_what_is_missing_alone(tmp_path, workers):
    first = list(run_missing(square, jobs(tmp_path, 1, 2), workers))
    assert sorted(one["square"] for one in first) == [1, 4]
    kept = (tmp_path / "deep" / "1.json").stat().st_mtime_ns
    assert [one["square"] for one in run_missing(square, jobs(tmp_path, 1, 2, 3), workers)] == [9]
    assert (tmp_path / "deep" / "1.json").stat().st_mtime_ns == kept


def test_a_file_says_what_made_it_and_is_checked_when_read(tmp_path):
    (one,) = run_missing(square, jobs(tmp_path, 2), 1)
    file = tmp_path / "deep" / "2.json"
    assert set(one) == {"square", "torch", "machine", "date"}
    assert json.loads(file.read_text()).items() >= one.items() and read_json(file)["square"] == 4


def test_what_was_finished_before_a_failure_is_kept(tmp_path):
    with pytest.raises(ValueError, match="at most 3"):
        list(run_missing(square, jobs(tmp_path, 1, 4, 2), 1))
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["1.json"]
