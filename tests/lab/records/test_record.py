"""The record: whole files or none, a checksum on each, and a sentence for whatever is wrong."""

import errno
import json
import os
import shutil

import numpy as np
import pytest

from mgcore.lab import Record, RecordError
from mgcore.lab.records.files import as_text
from mgcore.lab.records.record import reader_folder, records_folder

TRIAL = {
    "metrics": {"new": [{"epoch": 0, "training_loss": 0.5, "images": "all"}]},
    "circumstances": {"device": "cpu", "seconds": {"whole": 1.5}},
}
ARRAYS = {"blocks": np.arange(12.0).reshape(3, 4), "maps/new/conv1": np.ones((2, 2), np.float16)}
OTHER = {"new": [{"epoch": 0, "images": "all", "training_accuracy": 12.5}]}


@pytest.fixture
def record(tmp_path, tiny):
    """A record of three trials with every kind of file."""
    record = Record.create(tmp_path / "study", tiny())
    record.fingerprint = {"plain/loss": 2.25}
    record.write_arrays(ARRAYS)
    for number in range(3):
        record.add(TRIAL | {"trial": number})
    return record


def read(folder):
    """Read everything that a record holds."""
    record = Record(folder)
    return record.trials(3), record.fingerprint, record.arrays()


def test_what_is_read_is_what_was_written(record, tiny):
    again = Record(record.folder)
    assert again.protocol == tiny() and again.numbers() == [0, 1, 2]
    trials, fingerprint, arrays = read(record.folder)
    assert [trial["trial"] for trial in trials] == [0, 1, 2]
    assert all(trial["metrics"] == TRIAL["metrics"] for trial in trials)
    assert all(trial["circumstances"] == TRIAL["circumstances"] for trial in trials)
    assert fingerprint == {"plain/loss": 2.25} and record.has_arrays()
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype and np.array_equal(arrays[name], array)
    assert len(record.trials()) == 3 and len(record.trials(2)) == 2
    assert sorted(f.name for f in record.folder.iterdir()) == [
        "canary.json", "figures.json", "figures.npz", "protocol.json", "trial-000.json",
        "trial-001.json", "trial-002.json",
    ]  # fmt: skip


FILES = [
    "canary.json", "figures.json", "figures.npz", "protocol.json", "trial-000.json",
    "trial-002.json",
]  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_truncation_anywhere_is_detected_and_the_file_named(record, name):
    file = record.folder / name
    whole = file.read_bytes()
    cuts = {0, 1, len(whole) // 4, len(whole) // 2, len(whole) - 3, len(whole) - 2}
    for cut in cuts:
        file.write_bytes(whole[:cut])
        with pytest.raises(RecordError) as raised:
            read(record.folder)
        assert str(file) in str(raised.value) or name == "figures.json"
        assert "truncated or altered" in str(raised.value) and "\n" not in str(raised.value)
    file.write_bytes(whole)
    read(record.folder)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_anywhere_is_detected_and_the_file_named(record, name):
    file = record.folder / name
    whole = file.read_bytes()
    for place in range(0, len(whole) - 1, 5):  # the last byte ends the last line
        content = bytearray(whole)
        content[place] ^= 1 << (place % 3)
        file.write_bytes(bytes(content))
        with pytest.raises(RecordError) as raised:
            read(record.folder)
        named = "figures" if name.startswith("figures") else name
        assert named in str(raised.value), (place, str(raised.value))


def test_a_damaged_trial_gets_one_sentence_and_is_set_aside(record):
    file = record.folder / "trial-001.json"
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(RecordError) as raised:
        record.trial(1)
    assert str(raised.value) == (
        f"record: {file} is truncated or altered. Restore the file as it was written; the file of "
        "a trial may also be deleted, and the study then runs that trial again."
    )
    aside = record.set_aside(1)
    assert aside.read_bytes() == file.with_suffix(".damaged").read_bytes() and not file.exists()
    assert record.numbers() == [0, 2]
    with pytest.raises(RecordError) as raised:
        record.trials(3)
    assert str(raised.value) == (
        f"record: {file} is missing. Run the study again to complete its record."
    )


def test_a_file_of_another_trial_or_protocol_is_refused(record, tmp_path, tiny):
    sentence = (
        "record: {} belongs to another protocol or trial. It must hold trial {} of the protocol "
        "in {}; delete it to run that trial again."
    )
    first, second = record.folder / "trial-000.json", record.folder / "trial-001.json"
    shutil.copy(first, second)
    with pytest.raises(RecordError) as raised:
        record.trial(1)
    assert str(raised.value) == sentence.format(second, 1, record.folder / "protocol.json")
    other = Record.create(tmp_path / "other", tiny(seed=5))
    shutil.copy(first, other.folder)
    with pytest.raises(RecordError) as raised:
        other.trial(0)
    assert str(raised.value) == sentence.format(
        other.folder / "trial-000.json", 0, other.folder / "protocol.json"
    )


@pytest.mark.parametrize(("change", "theirs", "mine"), [
    ({"seed": 4}, "seed=0", "4"), ({"momentum": 0.5}, "momentum=0.9", "0.5"),
    ({"fine_training": "prolonged"}, "fine_training='original'", "'prolonged'"),
])  # fmt: skip
def test_the_record_of_another_protocol_is_refused_and_kept(record, tiny, change, theirs, mine):
    before = {f.name: f.read_bytes() for f in record.folder.iterdir()}
    with pytest.raises(RecordError) as raised:
        Record.create(record.folder, tiny(**change))
    assert str(raised.value) == (
        f"record: {record.folder} was written with {theirs}, not {mine}. Use that "
        "protocol or another folder."
    )
    assert before == {f.name: f.read_bytes() for f in record.folder.iterdir()}
    Record.create(record.folder, tiny(name="renamed"))  # a name decides nothing


def test_a_new_record_keeps_the_criteria_it_was_begun_under(tmp_path, tiny):
    first, later = {"one": "68b9b145abe1", "two": "7614b930c0b5"}, {"one": "another"}
    assert Record.create(tmp_path / "one", tiny(), first).criteria == first
    assert Record.create(tmp_path / "one", tiny(), later).criteria == first
    assert Record(tmp_path / "one").criteria == first
    assert Record.create(tmp_path / "two", tiny()).criteria == {}
    content = json.loads((tmp_path / "one" / "protocol.json").read_text("utf-8"))
    assert content["criteria"] == first and content["protocol"] == tiny().to_json()


@pytest.mark.parametrize("criteria", ["500c40933cf8674d", None, "absent"])
def test_a_record_from_before_claims_had_fingerprints_has_none(tmp_path, tiny, criteria):
    values = {"protocol": tiny().to_json(), "criteria": criteria}
    if criteria == "absent":
        del values["criteria"]
    file = tmp_path / "protocol.json"
    file.write_text(as_text(values), encoding="utf-8")
    assert Record(tmp_path).criteria == {} and Record(tmp_path).protocol == tiny()


def test_a_protocol_without_choices_that_came_later_is_read(tmp_path, tiny):
    older = {name: value for name, value in tiny().to_json().items() if name not in (
        "retraining", "newton", "hessian", "classifier_epochs", "cg_iterations", "trust_radius",
        "newton_epoch", "product_cost",
    )}  # fmt: skip
    values = {"protocol": older, "criteria": {}}
    file = tmp_path / "protocol.json"
    file.write_text(as_text(values), encoding="utf-8")
    record = Record(tmp_path)
    assert record.protocol == tiny() and record.protocol.key() == tiny().key()
    assert Record.create(tmp_path, tiny()).folder == tmp_path
    with pytest.raises(RecordError, match="was written with retraining='sgd', not 'joint'"):
        Record.create(tmp_path, tiny(retraining="joint"))


def test_what_is_no_record_is_refused(tmp_path, tiny):
    with pytest.raises(RecordError) as raised:
        Record(tmp_path)
    assert str(raised.value) == f"record: {tmp_path} holds no record. Name the folder of a study."
    folder = Record.create(tmp_path / "study", tiny()).folder
    values = {"protocol": tiny().to_json() | {"colour": "red"}}
    file = folder / "protocol.json"
    file.write_text(as_text(values), encoding="utf-8")
    with pytest.raises(RecordError) as raised:
        Record(folder)
    assert str(raised.value) == (
        f"record: {file} is no protocol: protocol has the unknown field 'colour'. A newer "
        "version of mgcore may have written it."
    )


def test_a_folder_that_cannot_be_made_gets_one_sentence(tmp_path, tiny):
    """Below a file: permissions would not stop root."""
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError) as raised:
        Record.create(tmp_path / "file" / "study", tiny())
    assert str(raised.value) == (
        f"record: {tmp_path}/file/study cannot be made (Not a directory). Choose a folder that "
        "you may write to."
    )


@pytest.mark.parametrize("step", ["replace", "fsync"])
def test_a_full_disk_loses_nothing_and_leaves_nothing_behind(record, monkeypatch, step):
    before = {f.name: f.read_bytes() for f in record.folder.iterdir()}

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, step, full)
        for write, name in (
            (lambda: record.add(TRIAL | {"trial": 1}), "trial-001.json"),
            (lambda: record.write_arrays(ARRAYS), "figures.npz"),
            (lambda: setattr(record, "fingerprint", {}), "canary.json"),
        ):
            with pytest.raises(RecordError) as raised:
                write()
            assert str(raised.value) == (
                f"record: {record.folder / name} cannot be written (No space left on device). "
                "Free some space or choose a folder that you may write to; everything written "
                "before is kept."
            )
    assert before == {f.name: f.read_bytes() for f in record.folder.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(RecordError, match="is damaged and cannot be renamed"):
            record.set_aside(1)


def test_a_reader_never_sees_half_a_file(record, monkeypatch):
    """At the moment of replacement the old file is whole, and the new one too."""
    file, replace, seen = record.folder / "trial-001.json", os.replace, []

    def watch(source, target):
        seen.append((record.trial(1)["metrics"], json.loads(source.read_text())["metrics"]))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watch)
    record.add(TRIAL | {"trial": 1, "metrics": OTHER})
    assert seen == [(TRIAL["metrics"], OTHER)] and file.exists()
    assert record.trial(1)["metrics"] == OTHER


def test_records_are_found_from_the_working_folder(tmp_path, monkeypatch):
    inner = tmp_path / "project" / "book" / "chapter"
    records = tmp_path / "project" / "book" / "records"
    inner.mkdir(parents=True), records.mkdir()
    for folder in (inner, inner.parent, inner.parent.parent):
        monkeypatch.chdir(folder)
        assert records_folder() == records
    monkeypatch.setenv("MGCORE_RECORDS", "/some/where")
    assert str(records_folder()) == "/some/where"
    monkeypatch.delenv("MGCORE_RECORDS")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecordError) as raised:
        records_folder()
    assert str(raised.value) == (
        f"record: no book/records in {tmp_path} or above it. Work in a folder of the project, or "
        "set MGCORE_RECORDS to the folder of records."
    )


def test_a_reader_has_a_folder_for_each_protocol(tmp_path, monkeypatch, tiny):
    (tmp_path / "project" / "book" / "records").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    own = reader_folder("baseline", tiny())
    assert own.parent == tmp_path / "project" / "_build" / "records" and not own.exists()
    assert reader_folder("baseline", tiny(name="renamed")) == own
    assert reader_folder("baseline", tiny(seed=2)) != own != reader_folder("pooling", tiny())
    monkeypatch.setenv("MGCORE_BUILD", str(tmp_path / "elsewhere"))
    assert reader_folder("baseline", tiny()).parent == tmp_path / "elsewhere" / "records"


def test_a_reader_tops_up_a_copy_of_the_committed_record(tmp_path, monkeypatch, record, tiny):
    (tmp_path / "project" / "book" / "records").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    committed = {f.name: f.read_bytes() for f in record.folder.iterdir()}
    (record.folder / "trial-007.damaged").write_text("")
    own = reader_folder("baseline", tiny(), record.folder)
    assert own != reader_folder("baseline", tiny())
    assert {f.name: f.read_bytes() for f in own.iterdir()} == committed
    Record(own).add(TRIAL | {"trial": 1, "metrics": OTHER})
    (own / "trial-000.json").unlink()
    assert reader_folder("baseline", tiny(), record.folder) == own
    assert Record(own).trial(1)["metrics"] == OTHER  # what is there is not written over
    assert Record(own).numbers() == [0, 1, 2]
    assert record.trial(1)["metrics"] == TRIAL["metrics"]


@pytest.mark.parametrize(("old", "new"), [(": ", ":\t"), ("2.25", "2.250"), ("}\n", "}")])
def test_a_change_that_leaves_the_content_as_it_is_is_noticed_too(record, old, new):
    """A flipped bit may hit a space, or a digit too late to change the number."""
    file = record.folder / "canary.json"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text[::-1].replace(old[::-1], new[::-1], 1)[::-1], encoding="utf-8")
    with pytest.raises(RecordError, match="canary.json is truncated or altered"):
        _ = record.fingerprint
