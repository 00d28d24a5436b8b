"""The command for a GPU: its plan, its limit, what it keeps; the clock is a number here."""

import subprocess
import sys

import pytest

from mgcore.lab.cost import gpu_day as day
from mgcore.lab.cost.gpu_day import FILE, STOP, gpu_day, read
from mgcore.lab.cost.gpu_parts import (
    PARTS,
    Settings,
    best_lowering,
    check_gradients,
    check_steps,
    parts_on,
)
from mgcore.lab.protocol import NEWTONS, study_protocol
from mgcore.lab.records.files import RecordError


class Clock:
    """Seconds that pass only where a worker spends them."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Machine:
    """Workers that take the seconds of each task that `durations` gives, by default 1."""

    def __init__(self, clock, card="card"):
        self.clock, self.card, self.durations, self.ran, self.killed = clock, card, {}, [], 0
        self.dies = set()

    def __call__(self, part, settings):
        self.clock.now += 1
        return _Worker(self, part)


class _Worker:
    def __init__(self, machine, part):
        self.machine, self.part, self.about = machine, part, {"card": machine.card}

    def run(self, name, seconds):
        machine = self.machine
        took = machine.durations.get(name, 1.0)
        machine.clock.now += min(took, seconds)
        if took > seconds:
            return None
        machine.ran.append((self.part, name))
        if name in machine.dies:
            machine.dies.discard(name)
            return {"error": "The process ended with exit status -11."}
        return {"agrees": True}

    def close(self):
        self.machine.killed += 1


def go(folder, machine, limit, **options):
    said = []
    content = gpu_day(
        folder, device="cpu", tier="smoke", dataset="strokes", limit=limit, clock=machine.clock,
        start=machine, say=said.append, **options,
    )  # fmt: skip
    return content, said


def every_task():
    settings = Settings("cpu", "smoke", "strokes")
    return [(part, name) for part in parts_on("cpu") for name in PARTS[part].tasks(settings)]


def test_a_newton_method_that_is_added_is_checked_too(monkeypatch):
    monkeypatch.setattr("mgcore.lab.cost.gpu_parts.NEWTONS", (*NEWTONS, "another"))
    assert "joint, another" in PARTS["newton"].tasks(Settings("cpu", "smoke", "strokes"))


def test_with_enough_time_every_task_runs_once_in_the_order_of_the_plan(tmp_path):
    machine = Machine(Clock())
    content, said = go(tmp_path, machine, 10_000)
    assert machine.ran == every_task() and content["left"] == {}
    assert [line.split()[0] for line in said[1:6]] == [
        "checks", "rates", "tables,", "ensembles", "newton",
    ]  # fmt: skip
    assert read(tmp_path / FILE) == content and machine.killed == len(parts_on("cpu"))


def test_it_ends_at_its_limit_keeps_everything_and_goes_on(tmp_path):
    machine = Machine(Clock())
    machine.durations = {name: 3.0 for _, name in every_task()}
    began, kept = machine.clock.now, 0
    content, said = go(tmp_path, machine, 70)
    assert machine.clock.now - began <= 70
    kept = len(machine.ran)
    assert 0 < kept < len(every_task()) and "the same command runs what is left" in said[-1]
    assert sum(map(len, content["left"].values())) == len(every_task()) - kept
    assert "beyond the limit" in "\n".join(said)
    content, said = go(tmp_path, machine, 10_000)
    assert sorted(machine.ran) == sorted(every_task())  # none was run twice
    assert [run["limit"] for run in content["runs"]] == [70, 10_000] and content["left"] == {}
    assert "done before" in "\n".join(go(tmp_path, machine, 10)[1])


def test_a_task_that_does_not_end_is_stopped_at_the_limit(tmp_path):
    machine = Machine(Clock())
    first = every_task()[0][1]
    machine.durations = {first: 1e9}
    began = machine.clock.now
    content, said = go(tmp_path, machine, 300)
    assert machine.clock.now - began == 300 - STOP
    assert content["results"] == {} and f"checks: {first}: stopped at the limit" in said


def test_the_tables_keep_their_time_and_checks_come_again_afterwards(tmp_path):
    """Slow checks may use half of the time; what they leave runs after the tables."""
    machine = Machine(Clock())
    machine.durations = {name: 9.0 for part, name in every_task() if part == "checks"}
    go(tmp_path, machine, 120)
    parts = [part for part, _ in machine.ran]
    assert parts.count("tables, float32") == 4
    assert "checks" in parts[: parts.index("tables, float32")]


def test_a_process_that_dies_costs_one_task_which_runs_again_next_time(tmp_path):
    machine = Machine(Clock())
    victim = every_task()[2]
    machine.dies = {victim[1]}
    content, _ = go(tmp_path, machine, 10_000)
    assert machine.ran == every_task()
    assert day.disagreements(content) == [": ".join(victim)] and content["left"] == {
        victim[0]: [victim[1]]
    }
    content, _ = go(tmp_path, machine, 10_000)
    assert machine.ran[len(every_task()) :] == [victim] and not day.disagreements(content)


def test_results_of_another_card_or_request_are_not_mixed(tmp_path):
    go(tmp_path, Machine(Clock()), 40)
    with pytest.raises(ValueError, match="holds the results of card, and this machine has other"):
        go(tmp_path, Machine(Clock(), "other"), 10_000)
    with pytest.raises(ValueError, match="another request"):
        gpu_day(tmp_path, device="cpu", tier="class", start=Machine(Clock()), say=[].append)
    (tmp_path / FILE).write_text("{")
    with pytest.raises(RecordError, match="truncated or altered"):
        go(tmp_path, Machine(Clock()), 40)


@pytest.mark.parametrize("lowering", ["unfold", "shifted"])
def test_checks_pass_for_the_code_and_fail_for_other_numbers(lowering, monkeypatch):
    assert check_gradients("cpu", lowering, True)["agrees"]
    monkeypatch.setattr("mgcore.lab.cost.gpu_parts.SAME_GRADIENT", 1e-12)
    assert not check_gradients("cpu", lowering, True)["agrees"]


def test_fifty_steps_of_the_step_that_a_gpu_captures_are_the_sequential_ones():
    assert check_steps("cpu", "unfold", True)["agrees"]


def test_the_fastest_lowering_whose_gradients_agree_makes_the_tables():
    side = study_protocol("baseline-prolonged", "smoke", "strokes").resolution
    network = f"{side}×{side}, no pooling, float32"
    rates = {f"{name}, {network}": {"flops": rate} for name, rate in
             (("grouped", 1.0), ("unfold", 2.0), ("shifted", 3.0))}  # fmt: skip
    checks = {f"{name}, no pooling, gradients in float32": {"agrees": agrees} for name, agrees in
              (("grouped", True), ("unfold", True), ("shifted", False))}  # fmt: skip
    settings = Settings("cpu", "smoke", "strokes", {"rates": rates, "checks": checks})
    assert best_lowering(settings, side, False, "float32") == "unfold"
    assert best_lowering(settings, side, True, "float32") == "unfold"  # nothing was measured
    faster = {**checks, "shifted, no pooling, gradients in float32": {"agrees": True}}
    settings = Settings("cpu", "smoke", "strokes", {"rates": rates, "checks": faster})
    assert best_lowering(settings, side, False, "float32") == "shifted"


def test_no_package_is_needed_beside_torch_numpy_and_scipy(tmp_path):
    """The whole import of the command and of its parts, with everything else made absent."""
    script = """
import sys
for name in ("joblib", "tqdm", "yaml", "filelock", "platformdirs", "torchvision", "matplotlib"):
    sys.modules[name] = None
from mgcore.lab.cli import main
try:
    main(["gpu-day", "--out", sys.argv[1], "--device", "cpu", "--tier", "smoke", "--limit", "1"])
except ImportError as error:
    sys.exit(f"needs {error.name}")
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Plan, limit 1 s" in done.stdout and (tmp_path / FILE).exists()
