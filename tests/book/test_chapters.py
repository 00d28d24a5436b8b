"""Every experiment chapter, run again at the smoke tier and with values it must refuse."""

import os
import subprocess
import sys
from pathlib import Path

import notebooks
import pytest
import torch
from notebooks import ROOT

TAKES = {path: notebooks.parameters(notebooks.read(ROOT / path)) for path in notebooks.chapters()}
EXPERIMENTS = [path for path, names in TAKES.items() if names]
REFUSED = [
    ("tier", "colossal"),
    ("device", "abacus"),
    ("device", "cuda"),
    ("trials", "0"),
    ("trials", "-1"),
    ("trials", "2.5"),
    ("trials", "many"),
    ("dataset", "postcards"),
]


def execute(path: Path, out: Path, **values: str) -> subprocess.CompletedProcess[str]:
    """Run one chapter with `values` into `out`."""
    command = [sys.executable, "book/tools/execute.py", "--only", path.stem, "--out", str(out)]
    command += [f"--parameter={name}={value}" for name, value in values.items()]
    environment = {name: value for name, value in os.environ.items() if name != "MGCORE_DATA"}
    environment["MGCORE_BUILD"] = str(out / "build")  # so that the run is a run, every time
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)


def smoke(path: Path) -> dict[str, str]:
    """Return the parameters of the cheapest run of a chapter, those that it takes."""
    wanted = {"tier": "smoke", "dataset": "strokes", "device": "cpu", "trials": "1"}
    return {name: value for name, value in wanted.items() if name in TAKES[path]}


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_smoke_tier_runs_from_end_to_end(path: Path, tmp_path: Path) -> None:
    committed = (ROOT / path).read_bytes()
    run = execute(path, tmp_path, **smoke(path))
    assert run.returncode == 0, run.stderr
    assert (ROOT / path).read_bytes() == committed
    executed = notebooks.read(tmp_path / path)
    assert notebooks.tagged(executed, "verdict"), "no cell tagged verdict: reproduce has no answer"


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_unknown_parameter_is_refused(path: Path, tmp_path: Path) -> None:
    run = execute(path, tmp_path, colour="red")
    assert run.returncode == 1
    assert run.stderr.startswith(f"{path} has no parameter 'colour'")
    assert run.stderr.count("\n") == 1 and not list(tmp_path.iterdir())


def refusals() -> list:
    """Return chapter, parameter and value; the first chapter's always run, the others' are slow."""
    cases = []
    for path in EXPERIMENTS:
        marks = [] if path == EXPERIMENTS[0] else [pytest.mark.slow]
        for name, value in REFUSED:
            if name in TAKES[path]:
                case = f"{path.stem}-{name}={value}"
                cases.append(pytest.param(path, name, value, marks=marks, id=case))
    return cases


@pytest.mark.parametrize(("path", "name", "value"), refusals())
def test_bad_values_get_one_sentence(path: Path, name: str, value: str, tmp_path: Path) -> None:
    if value == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    run = execute(path, tmp_path, **{**smoke(path), name: value})
    assert run.returncode == 1
    (_, sentence) = run.stderr.strip().splitlines()
    assert sentence.startswith(f"{path} stopped in cell [")
    assert name in sentence and value in sentence
    assert not (tmp_path / path).exists()
