"""Running a study: what is missing and only that, after kills, damage and beside others."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from mgcore.lab import Record, RecordError, run_study
from mgcore.lab.protocol import CONDITIONS
from mgcore.lab.run import study as run
from mgcore.lab.run.fingerprint import fingerprint
from mgcore.lab.run.study import check_trials, run_one
from mgcore.lab.trial import measures, phases
from mgcore.lab.trial.figure_arrays import collect
from mgcore.lab.trial.measures import measure
from mgcore.lab.trial.trial import metric_hash, run_trial
from mgcore.lab.verdict.metrics import cell


@contextmanager
def measuring_less():
    """Measure less of each trial; test_measures has the rest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measures, "DIRECTIONS", 1)
        patch.setattr(measures, "LOSS_IMAGES", {"smoke": 2})
        yield


@pytest.fixture(scope="module", autouse=True)
def measured_less():
    with measuring_less():
        yield


def run_one_measuring_less(*job):
    """Run a trial in another process, where this process's settings do not hold."""
    with measuring_less():
        return run_one(*job)


@pytest.fixture
def place(tmp_path):
    """Where a study keeps its record and its checkpoints."""
    return {"record": tmp_path / "study", "cache": tmp_path / "checkpoints"}


@pytest.fixture(scope="module")
def two_trials(tiny, tmp_path_factory):
    """A record of two trials and its checkpoints, which no test changes."""
    folder = tmp_path_factory.mktemp("finished")
    place = {"record": folder / "study", "cache": folder / "checkpoints"}
    study(tiny(), 2, place)
    return place


@pytest.fixture
def finished(two_trials, place):
    """A copy of the record of two trials for this test."""
    for name, folder in two_trials.items():
        shutil.copytree(folder, place[name])
    return place


@pytest.fixture(scope="module")
def alone(tiny):
    """The same trials and one more, each run by itself."""
    return [run_trial(tiny(), number) for number in range(3)]


def study(protocol, trials, place, **options):
    options = {"device": "cpu", "workers": 1, "progress": False} | place | options
    return run_study(protocol, trials, **options)


def hash_of(place, trials):
    return metric_hash(Record(place["record"]).trials(trials))


def hash_of_results(results):
    return metric_hash([{"trial": n, "metrics": one["metrics"]} for n, one in enumerate(results)])


def times(place):
    """When each trial file was written."""
    return {f.name: f.stat().st_mtime_ns for f in place["record"].glob("trial-*.json")}


def test_a_record_holds_what_the_trials_gave(tiny, finished, alone):
    record = Record(finished["record"])
    assert record.protocol == tiny() and record.numbers() == [0, 1]
    for trial, own in zip(record.trials(2), alone, strict=False):
        assert trial["metrics"] == own["metrics"]
        assert trial["measures"] == measure(tiny(), trial["trial"], own["kept"])
        about = trial["circumstances"]
        assert about["device"] == "cpu" and about["threads"] == 1
        assert about["data"]["dataset"] == "strokes" and len(about["data"]["sha256"]) == 64
        assert about["versions"]["torch"] == torch.__version__.split("+")[0] or (
            about["versions"]["torch"] == torch.__version__
        )
        assert set(about["seconds"]) == {"coarse", *CONDITIONS, "whole"}
        assert cell(trial, "landscape.multigrid.radius") > 0
        last = trial["metrics"]["transfer"][-1]["validation_accuracy"]
        assert cell(trial, "preparation.transfer.original") == last
    assert record.fingerprint == fingerprint("strokes") and record.criteria == {}
    # The arrays of the figures are of trial 0.
    arrays, expected = record.arrays(), collect(tiny(), alone[0]["kept"])
    assert arrays.keys() == expected.keys()
    assert [name for name in expected if not np.array_equal(arrays[name], expected[name])] == []
    without = [{k: v for k, v in t.items() if k != "measures"} for t in record.trials()]
    assert metric_hash(without) == metric_hash(record.trials())


def test_a_new_record_is_begun_under_the_criteria_of_then(tiny, place):
    assert study(tiny(), 1, place, criteria={"claim": "68b9b145abe1"}).folder == place["record"]
    study(tiny(), 1, place, criteria={"claim": "changed"})
    assert Record(place["record"]).criteria == {"claim": "68b9b145abe1"}


def resolutions_of_epochs(monkeypatch) -> list[int]:
    """Return a list that is given the resolution of every epoch of a study from now on."""
    # A process computes each fingerprint once: whichever test is first must not count its epochs.
    fingerprint("strokes"), fingerprint("strokes", "steihaug")
    resolutions, train = [], phases.train_epoch

    def listed(objective, *arguments, **options):
        resolutions.append(objective.resolution)
        train(objective, *arguments, **options)

    monkeypatch.setattr(phases, "train_epoch", listed)
    return resolutions


def test_an_optimizer_study_has_its_own_fingerprint_and_the_same_coarse_networks(
    tiny, finished, monkeypatch
):
    """Its fingerprint has Newton's paths; its coarse network is the baseline's file."""
    before = {f: f.stat().st_mtime_ns for f in finished["cache"].glob("*.npz")}
    assert len(before) == 2 and all(file.name.startswith("coarse") for file in before)
    resolutions = resolutions_of_epochs(monkeypatch)
    protocol = tiny(retraining="classifier", classifier_epochs=2)
    record = study(protocol, 1, finished | {"record": finished["record"].parent / "two"})
    assert resolutions == [8] * 9  # no coarse network was trained
    assert {f: f.stat().st_mtime_ns for f in finished["cache"].glob("*.npz")} == before
    assert record.fingerprint == fingerprint("strokes", "steihaug") != fingerprint("strokes")
    trial = record.trial(0)
    assert set(trial["metrics"]) == {
        "coarse",
        *CONDITIONS,
        *(f"{arm}_classifier" for arm in CONDITIONS),
    }
    assert cell(trial, "multigrid_classifier.last.gap") == pytest.approx(
        cell(trial, "multigrid.0.gap")
    )
    assert set(record.trial(0)["circumstances"]["seconds"]) == {*trial["metrics"], "whole"}


def test_only_what_is_missing_is_run(tiny, finished, alone):
    before = times(finished)
    for trials in (2, 1):
        study(tiny(), trials, finished)
        assert times(finished) == before
    record = study(tiny(), 3, finished)
    after = times(finished)
    assert record.numbers() == [0, 1, 2] and before.items() <= after.items()
    (finished["record"] / "trial-001.json").unlink()
    study(tiny(), 3, finished)
    assert {k: v for k, v in times(finished).items() if k != "trial-001.json"} == {
        k: v for k, v in after.items() if k != "trial-001.json"
    }
    assert [trial["metrics"] for trial in record.trials()] == [one["metrics"] for one in alone]


@pytest.mark.parametrize("damage", ["truncated", "altered", "empty"])
def test_a_damaged_trial_is_set_aside_and_run_again(tiny, finished, damage, capsys):
    digest, before = hash_of(finished, 2), times(finished)
    file = finished["record"] / "trial-001.json"
    text = file.read_text()
    bad = {"truncated": text[:99], "altered": text.replace('"trial": 1', '"trial": 2'), "empty": ""}
    file.write_text(bad[damage])
    study(tiny(), 2, finished)
    assert hash_of(finished, 2) == digest
    assert (finished["record"] / "trial-001.damaged").read_text() == bad[damage]
    assert times(finished)["trial-000.json"] == before["trial-000.json"]
    assert f"record: {file} is truncated or altered" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["figures.npz", "figures.json"])
@pytest.mark.parametrize("fault", ["flipped", "gone"])
def test_damaged_figures_are_set_aside_and_trial_0_runs_again(tiny, finished, name, fault, capsys):
    record = Record(finished["record"])
    digest, before, arrays = hash_of(finished, 2), times(finished), record.arrays()
    file = finished["record"] / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content)) if fault == "flipped" else file.unlink()
    again = study(tiny(), 2, finished).arrays()
    assert all(np.array_equal(again[key], arrays[key]) for key in arrays)
    after = times(finished)
    assert hash_of(finished, 2) == digest and after["trial-001.json"] == before["trial-001.json"]
    assert after["trial-000.json"] != before["trial-000.json"]
    said = capsys.readouterr().err
    assert name in said or (name, fault) == ("figures.json", "gone")  # nothing then says there were


def test_the_time_before_an_interruption_counts(tiny, place, monkeypatch):
    """A trial stopped after its coarse network and one arm is as long as both parts of it."""
    spent, real = [], phases.save

    def save(path, now):
        now.seconds["training"] += 100.0
        real(path, now)
        spent.append(path)
        if len(spent) == 3 + 3 + 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(phases, "save", save)
        with pytest.raises(KeyboardInterrupt):
            study(tiny(), 1, place)
    seconds = study(tiny(), 1, place).trial(0)["circumstances"]["seconds"]
    assert seconds["coarse"]["training"] > 300  # it was there already, and counts no more
    assert 400 < seconds["whole"] < 500


def test_workers_give_what_one_process_gives(tiny, place, alone, monkeypatch):
    """Trials in two processes, results in the order in which they finish."""
    monkeypatch.setattr(run, "run_one", run_one_measuring_less)
    study(tiny(), 3, place, workers=2)
    assert hash_of(place, 3) == hash_of_results(alone)
    assert all(t["circumstances"]["threads"] == 1 for t in Record(place["record"]).trials())


SCRIPT = """
import json, sys, time
from pathlib import Path
from mgcore.lab import Protocol, Record, run_study
from mgcore.lab.trial import measures, phases
from mgcore.lab.run.fingerprint import fingerprint

about = json.loads(sys.argv[1])
log = Path(about["log"])
train, add = phases.train_epoch, Record.add

def note(line):
    with open(log, "a") as file:
        file.write(line + chr(10))

def counted(*arguments, **options):
    note("epoch")
    train(*arguments, **options)

def written(self, trial):
    note(f"trial {trial['trial']}")
    add(self, trial)

fingerprint("strokes")  # whose epochs do not count
phases.train_epoch, Record.add = counted, written
measures.DIRECTIONS, measures.LOSS_IMAGES = 1, {"smoke": 2}
note("ready")
while about["others"] and not all(Path(other).exists() for other in about["others"]):
    time.sleep(0.01)
run_study(
    Protocol.from_json(about["protocol"]), about["trials"], "cpu", record=about["record"],
    cache=about["cache"], workers=about["workers"], progress=False,
)
note("done")
"""


def launch(protocol, trials, place, log: Path, workers=1, others=()) -> subprocess.Popen:
    """Run a study in another process, which logs its epochs and the trials it writes."""
    about = {
        "protocol": protocol.to_json(), "trials": trials, "log": str(log), "workers": workers,
        "others": [str(other) for other in others],
        **{name: str(path) for name, path in place.items()},
    }  # fmt: skip
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), json.dumps(about)]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def wait_for(condition, process, seconds=120):
    """Wait until `condition` holds while `process` is at work."""
    limit = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < limit
        time.sleep(0.002)


def epochs_in(cache: Path) -> int:
    """Epochs that checkpoints hold, coarse and fine."""
    total = 0
    for file in cache.glob("*.npz"):
        with np.load(file) as arrays:
            total += json.loads(str(arrays["about"]))["epoch"]
    return total


@pytest.mark.parametrize("when", [pytest.param("coarse", marks=pytest.mark.slow), "fine"])
def test_a_kill_costs_one_epoch_and_changes_nothing(tiny, place, tmp_path, when, monkeypatch):
    """kill -9 in trial 1 of 2, then the same command."""
    protocol = tiny(n_fine=32, n_coarse=32, coarse_epochs=8, fine_epochs=8)
    log, first = tmp_path / "log", place["record"] / "trial-000.json"
    process = launch(protocol, 2, place, log)

    def in_the_middle():
        coarse, fine = (list(place["cache"].glob(f"{grid}-*.npz")) for grid in ("coarse", "fine"))
        return first.exists() and len(coarse) == 2 and len(fine) >= (when == "fine")

    wait_for(in_the_middle, process)
    process.kill()
    process.communicate()
    assert not (place["record"] / "trial-001.json").exists()
    before, kept = times(place), epochs_in(place["cache"])
    started = log.read_text().split().count("epoch")
    assert process.returncode == -signal.SIGKILL
    resolutions = resolutions_of_epochs(monkeypatch)
    study(protocol, 2, place)
    assert times(place)["trial-000.json"] == before["trial-000.json"]
    assert log.read_text().splitlines().count("trial 0") == 1
    # What ran again is all of trial 1 (4 x 8 epochs) that is in no checkpoint.
    assert len(resolutions) == 32 - (kept - 8)
    assert started + len(resolutions) <= 2 * 32 + 1  # at most one epoch was trained twice
    assert Record(place["record"]).trial(1)["metrics"] == run_trial(protocol, 1)["metrics"]


@pytest.mark.slow
def test_a_kill_of_the_caller_of_two_workers(tiny, place, tmp_path):
    """Its workers may live on for a while; the second run shares the work with nobody's lock."""
    protocol = tiny(n_fine=64, n_coarse=64, coarse_epochs=8, fine_epochs=8)
    process = launch(protocol, 4, place, tmp_path / "log", workers=2)
    wait_for(lambda: len(list(place["record"].glob("trial-*.json"))) >= 1, process)
    process.kill()
    process.wait()  # not for its output, which workers that live on hold open
    process.stderr.close()
    before = times(place)
    study(protocol, 4, place)
    assert before.items() <= times(place).items()
    assert hash_of(place, 4) == hash_of_results([run_trial(protocol, n) for n in range(4)])


@pytest.mark.slow
def test_two_processes_finish_one_record_together(tiny, place, tmp_path):
    protocol = tiny(fine_epochs=6)
    logs = [tmp_path / "one", tmp_path / "two"]
    processes = [launch(protocol, 8, place, log, others=logs) for log in logs]
    for process in processes:
        assert process.wait(timeout=200) == 0, process.stderr.read().decode()
        process.stderr.close()
    ran = [[line for line in log.read_text().splitlines() if line.startswith("trial")]
           for log in logs]  # fmt: skip
    assert sorted(ran[0] + ran[1]) == [f"trial {n}" for n in range(8)]  # none twice
    assert ran[0] and ran[1]
    total = sum(log.read_text().split().count("epoch") for log in logs)
    assert total == 8 * (3 + 3 * 6)
    assert hash_of(place, 8) == hash_of_results([run_trial(protocol, n) for n in range(8)])


def test_a_failing_trial_loses_nothing(tiny, finished, monkeypatch):
    """An error in trial 2 leaves trials 0 and 1, and the lock is free again."""
    before = times(finished)

    def fail(protocol, trial, **options):
        raise FloatingPointError("training diverged: conv1.weight is no longer finite.")

    with monkeypatch.context() as patch:
        patch.setattr(run, "run_trial", fail)
        with pytest.raises(FloatingPointError, match="training diverged"):
            study(tiny(), 3, finished)
    assert times(finished) == before
    study(tiny(), 3, finished)
    assert before.items() <= times(finished).items() and len(times(finished)) == 3


@pytest.mark.parametrize("trials", [0, -1, 2.5, "many", True, None, "3"])
def test_bad_numbers_of_trials_get_one_sentence(tiny, place, trials):
    sentence = f"trials must be a positive integer, got {trials!r}."
    for call in (check_trials, lambda t: study(tiny(), t, place)):
        with pytest.raises(ValueError) as raised:
            call(trials)
        assert str(raised.value) == sentence
    assert not place["record"].exists() and not place["cache"].exists()


@pytest.mark.parametrize(
    ("device", "sentence"),
    [
        ("abacus", "device must be one of 'auto', 'cpu', 'cuda', got 'abacus'."),
        ("cuda", "device='cuda', but torch finds no CUDA device. Use 'cpu' or 'auto'."),
    ],
)
def test_bad_devices_get_one_sentence(tiny, place, device, sentence, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError) as raised:
        study(tiny(), 1, place, device=device)
    assert str(raised.value) == sentence
    assert not place["record"].exists()


def test_a_cluster_computes_one_trial_after_another(tiny, place):
    with pytest.raises(ValueError) as raised:
        study(tiny(), 1, place, scheduler="tcp://x:1", vectorized=True)
    assert str(raised.value) == (
        "scheduler='tcp://x:1' cannot be combined with vectorized=True on 'cpu'. "
        "Use device='cpu' and vectorized=False."
    )
    assert not place["record"].exists()


def test_absent_mnist_gets_one_sentence_and_leaves_a_usable_record(
    tiny, place, tmp_path, monkeypatch
):
    monkeypatch.setenv("MGCORE_DATA", str(tmp_path / "nothing"))
    protocol = tiny(dataset="mnist", resolution=28)
    with pytest.raises(FileNotFoundError) as raised:
        study(protocol, 1, place)
    sentence = str(raised.value)
    assert sentence.startswith(f"dataset='mnist' is not in {tmp_path}/nothing/MNIST/raw and ")
    assert sentence.endswith("dataset='strokes', which needs no file.") and "\n" not in sentence
    assert Record(place["record"]).numbers() == []


def test_the_record_of_another_protocol_is_refused(tiny, finished):
    before = times(finished)
    with pytest.raises(RecordError) as raised:
        study(tiny(momentum=0.5), 3, finished)
    assert str(raised.value) == (
        f"record: {finished['record']} was written with momentum=0.9, not 0.5. Use that "
        "protocol or another folder."
    )
    assert times(finished) == before


def test_the_record_of_other_code_is_refused(tiny, finished):
    record = Record(finished["record"])
    before, values = times(finished), record.fingerprint
    name = "plain/multigrid/2/training_loss"
    record.fingerprint = values | {name: values[name] * (1 + 1e-6)}
    with pytest.raises(RecordError) as raised:
        study(tiny(), 3, finished)
    assert str(raised.value) == (
        f"record: {finished['record']} was made by code that computes something else ({name} "
        "differs by 1.0e-06). Use that code or another folder."
    )
    record.fingerprint = values | {name: values[name] * (1 + 1e-9)}  # rounding of another machine
    study(tiny(), 2, finished)
    assert times(finished) == before
    (finished["record"] / "canary.json").unlink()
    with pytest.raises(RecordError) as raised:
        study(tiny(), 3, finished)
    assert str(raised.value) == (
        f"record: {finished['record']} has trials but no canary.json. Restore the record, or use "
        "an empty folder."
    )


@pytest.mark.parametrize("which", ["record", "cache"])
def test_folders_that_cannot_be_made_get_one_sentence(tiny, place, tmp_path, which):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError) as raised:
        study(tiny(), 1, place | {which: tmp_path / "file" / "folder"})
    named = tmp_path / "file" / ("folder" if which == "record" else "folder/claims")
    done = "made" if which == "record" else "written"
    assert str(raised.value).startswith(f"{which}: {named} cannot be {done} (Not a directory). ")
    assert "\n" not in str(raised.value)


def test_a_disk_that_fills_up_keeps_the_finished_trials(tiny, finished, monkeypatch):
    before, replace = times(finished), os.replace

    def full(source, target):
        if Path(target).name == "trial-002.json":
            raise OSError(28, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(RecordError) as raised:
            study(tiny(), 3, finished)
    assert "trial-002.json cannot be written (No space left on device)" in str(raised.value)
    assert times(finished) == before
    study(tiny(), 3, finished)
    assert before.items() <= times(finished).items() and len(times(finished)) == 3


def test_the_bar_writes_to_standard_error_and_only_if_asked(tiny, finished, capsys):
    study(tiny(), 2, finished)
    assert capsys.readouterr() == ("", "")
    study(tiny(), 3, finished, progress=True)
    out, err = capsys.readouterr()
    assert out == "" and "trials" in err
