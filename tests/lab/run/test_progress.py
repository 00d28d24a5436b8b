"""What a study shows while it runs: a bar on a terminal, lines elsewhere, nothing when quiet."""

import io
import sys
import time
from pathlib import Path

import pytest

from mgcore.lab import Record, run_study
from mgcore.lab.run import progress
from mgcore.lab.run.locks import TrialLocks
from mgcore.lab.run.progress import ProgressFile, StudyProgress, show_progress
from mgcore.lab.trial import measures
from mgcore.lab.trial.work import image_steps


class Screen(io.StringIO):
    """A standard error that is a terminal, or is not."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def trial(number, accuracy):
    row = {"epoch": 0, "images": "all", "validation_accuracy": accuracy}
    other = row | {"validation_accuracy": 90}
    return {
        "trial": number, "metrics": {"new": [row], "multigrid": [other]},
        "circumstances": {"seconds": {"whole": 1.0}},
    }  # fmt: skip


@pytest.fixture
def watch(tiny, tmp_path):
    """Two of four trials done, one in the middle of its second arm."""
    record = Record.create(tmp_path / "a-study", tiny())
    record.add(trial(0, 80.0))
    locks = TrialLocks(tmp_path / "claims", record.folder)
    locks.take(2)
    with locks:
        watch = StudyProgress(tiny(), record, 4, locks)
        record.add(trial(1, 81.0))
        tick = ProgressFile(locks.progress_file(2))
        tick.begin("transfer")
        tick(image_steps(tiny()) / 4)
        tick(image_steps(tiny()) / 4)
        watch.update()
        yield watch


def test_trials_are_counted_with_those_under_way_in_part(watch):
    assert watch.finished == 2
    assert watch.share == pytest.approx(2 + progress.TRAINING / 2)  # measuring comes after it
    assert watch.running == "2 transfer"
    assert watch.so_far == "validation new 80.5, multigrid 90.0 %"
    # Since it was first looked at, 1.45 trials in 29 seconds; 1.55 are to go.
    watch.began = time.monotonic() - 29
    assert watch.left in ("00:30 left", "00:31 left")
    assert str(watch).startswith("a-study: 2 of 4 trials; running 2 transfer; validation new 80.5")


def test_a_damaged_trial_has_no_accuracy(watch):
    (watch.record.folder / "trial-003.json").write_text("x")
    watch.update()
    assert watch.so_far == "validation new 80.5, multigrid 90.0 %"


def test_what_cannot_be_written_is_done_without(tmp_path):
    ProgressFile(tmp_path / "absent" / "file")(3.0)
    assert not list(tmp_path.iterdir())


def show(watch, monkeypatch, terminal, shown=True):
    screen = Screen(terminal)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(progress, "UPDATE", 0.01)
    looks, update = [], watch.update
    monkeypatch.setattr(watch, "update", lambda: (update(), looks.append(1)))

    def five_looks():
        limit, seen = time.monotonic() + 60, len(looks)
        while shown and len(looks) < seen + 5 and time.monotonic() < limit:
            time.sleep(0.01)

    with show_progress(watch, shown):
        five_looks()
        watch.record.add(trial(3, 82.0))
        five_looks()
    return screen.getvalue()


def test_lines_without_a_terminal(watch, monkeypatch):
    """One at the beginning and one for each trial that ends, also where somebody waits for it."""
    kept = watch.record.folder.parent / "kept"
    monkeypatch.setenv("MGCORE_PROGRESS", str(kept))
    said = show(watch, monkeypatch, terminal=False)
    first, last = said.splitlines()
    assert "\r" not in said and first.startswith("a-study: 2 of 4 trials; running 2 transfer;")
    assert last.startswith("a-study: 3 of 4 trials; running 2 transfer; validation new 81.0")
    assert kept.read_text() == f"{last}\n"
    monkeypatch.setenv("MGCORE_PROGRESS", str(kept / "below a file"))
    assert "4 trials" in show(watch, monkeypatch, terminal=False)  # nobody there to tell


def test_a_bar_on_a_terminal(watch, monkeypatch):
    said = show(watch, monkeypatch, terminal=True)
    assert said.count("\r") > 3 and "a-study 3/4  86 %|" in said and "2 transfer" in said


def test_nothing_when_quiet(watch, monkeypatch):
    assert show(watch, monkeypatch, True, False) == show(watch, monkeypatch, False, False) == ""


def test_a_minute_without_an_end_gets_a_line(watch, monkeypatch):
    monkeypatch.setattr(progress, "LINE", 0.0)
    assert show(watch, monkeypatch, terminal=False).count("\n") >= 8


def test_a_study_says_where_it_is_and_leaves_no_files_behind(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(measures, "DIRECTIONS", 1)
    screen = Screen(False)
    monkeypatch.setattr(sys, "stderr", screen)
    place = {"record": tmp_path / "r", "cache": tmp_path / "c"}
    run_study(tiny(), 2, "cpu", workers=1, **place)
    lines = screen.getvalue().splitlines()
    assert lines[-1].startswith("r: 2 of 2 trials; validation new ")
    assert not list(Path(tmp_path / "c").rglob("*.progress"))
