"""The page on speed: its tables hold what the commands wrote, and nothing damaged is shown."""

import json
import re
import shutil

import generated
import pytest
import speed
from notebooks import ROOT

from mgcore.lab.records.files import RecordError, write_json

FOLDER = ROOT / "book" / "records" / "bench"
BOOK = generated.Book(ROOT, "book", {}, ())
FILES = {speed.rates: "table", speed.busy: "busy", speed.predictions: "plan", speed.faults: "soak"}


def rows(text: str) -> list[list[str]]:
    """Return the cells of a list-table, its header first."""
    assert text.startswith(":::{list-table}") and text.endswith(":::")
    parts = re.split(r"(?=^\* - )", text, flags=re.M)
    return [re.findall(r"^[* ] - ?(.*)$", row, re.M) for row in parts][1:]


@pytest.mark.parametrize("part", FILES, ids=lambda part: part.__name__)
def test_a_table_has_its_date_and_machine_and_a_row_for_all_that_was_measured(part):
    about = json.loads((FOLDER / f"{FILES[part]}.json").read_text("utf-8"))
    text = part(BOOK)
    caption = text.splitlines()[0]
    assert about["date"] in caption and about["machine"] in caption
    header, *body = rows(text)
    measured = about.get("rows") or about.get("chapters") or about["faults"]
    assert len(body) == len(measured) and {len(row) for row in body} == {len(header)}


@pytest.mark.parametrize("part", FILES, ids=lambda part: part.__name__)
def test_an_altered_file_is_refused(part, monkeypatch, tmp_path):
    name = f"{FILES[part]}.json"
    shutil.copy(FOLDER / name, tmp_path)
    content = (tmp_path / name).read_text("utf-8")
    (tmp_path / name).write_text(content.replace('"date": "2', '"date": "3'), "utf-8")
    monkeypatch.setattr(speed, "FOLDER", tmp_path)
    with pytest.raises(RecordError, match="altered"):
        part(BOOK)


def test_a_ratio_names_what_it_is_a_ratio_to():
    about = json.loads((FOLDER / "table.json").read_text("utf-8"))
    shown = [row[3] for row in rows(speed.rates(BOOK))[1:]]
    for row, text in zip(about["rows"], shown, strict=True):
        assert text == ("" if row["ratio"] is None else f"{row['ratio']:.2f} of {row['to']}")


def test_what_was_soaked_is_every_fault_and_nothing_was_lost():
    import soak

    told = json.loads((FOLDER / "soak.json").read_text("utf-8"))["faults"]
    assert [one["fault"] for one in told] == [fault.__doc__ for fault in soak.FAULTS]
    assert not any(word in one["happened"] for one in told for word in ("LOST", "SKIPPED"))


def test_the_parts_are_those_that_the_page_asks_for():
    asked = generated.ASKED.findall((ROOT / "book" / "speed.md").read_text("utf-8"))
    shown = [speed.rates, speed.busy, speed.gpu, speed.predictions, speed.faults]
    assert [generated.PARTS[name] for name in asked] == [f"speed:{part.__name__}" for part in shown]


def test_a_gpu_is_not_measured_until_there_is_a_file_and_then_its_table_is_shown(
    monkeypatch, tmp_path
):
    monkeypatch.setattr(speed, "FOLDER", tmp_path)
    assert speed.gpu(BOOK) == "The speed on a GPU **has not been measured**."
    network = "28×28, no pooling, float32"
    table = {"trials": 20, "lowering": "triton", "agrees": True, "sentence": "Agrees: 20 trials."}
    write_json(tmp_path / "gpu.json", {
        "about": {"card": "NVIDIA H100", "torch": "2.11.0"},
        "runs": [{"seconds": 400.0, "date": "2026-11-26"}, {"seconds": 12.0, "date": "2026-11-27"}],
        "results": {
            "checks": {"a": {"agrees": True}, "b": {"error": "x"}},
            "rates": {
                "SGEMM, float32": {"flops": 5e13}, "copy": {"bytes_per_second": 3e12},
                f"triton, {network}": {"flops": 2.5e13}, f"grouped, {network}": {"error": "x"},
            },
            "tables, float32": {
                "baseline-prolonged": table | {"seconds": 20.0},
                "pooling-prolonged": table | {"seconds": 10.5},
            },
            "ensembles": {
                f"one after another, {network}": {"flops": 1e12},
                f"60 networks, {network}": {"flops": 2.5e13},
            },
        },
    })  # fmt: skip
    text = speed.gpu(BOOK)
    caption = text.splitlines()[0]
    assert "NVIDIA H100, torch 2.11.0, 2026-11-27" in caption and "412 s" in caption
    assert rows(text)[1:] == [
        ["Checks", "lowerings and captured steps: as on the CPU", "1 of 2", ""],
        ["Rates", "SGEMM, float32", "50 TFLOP/s", ""],
        ["Rates", "copy, read and written", "3.00 TB/s", ""],
        ["Rates", f"triton, {network}", "25 TFLOP/s", "0.50 of SGEMM"],
        [
            "Tables, float32",
            "baseline-prolonged, 20 trials, triton",
            "20.0 s",
            "Agrees: 20 trials.",
        ],
        ["Tables, float32", "pooling-prolonged, 20 trials, triton", "10.5 s", "Agrees: 20 trials."],
        ["Tables, float32", "these 2 studies", "30.5 s", ""],
        ["Ensembles", f"one after another, {network}", "1 TFLOP/s", ""],
        ["Ensembles", f"60 networks, {network}", "25 TFLOP/s", "25.0 of one after another"],
    ]
