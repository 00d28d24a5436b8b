"""Every experiment chapter, run again at the smoke tier and with values it must refuse."""

import os
import subprocess
import sys
from pathlib import Path

import execute as chapters_tool
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


def execute(
    path: Path, out: Path, build: Path | None = None, **values: str
) -> subprocess.CompletedProcess[str]:
    """Run one chapter with `values` into `out`; studies are kept in `build`, of its own if None."""
    command = [sys.executable, "book/tools/execute.py", "--only", path.stem, "--out", str(out)]
    command += [f"--parameter={name}={value}" for name, value in values.items()]
    environment = {name: value for name, value in os.environ.items() if name != "MGCORE_DATA"}
    environment["MGCORE_BUILD"] = str(build or out / "build")  # so that the first run is a run
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)


def smoke(path: Path) -> dict[str, str]:
    """Return the parameters of the cheapest run of a chapter, those that it takes."""
    wanted = {"tier": "smoke", "dataset": "strokes", "device": "cpu", "trials": "1"}
    return {name: value for name, value in wanted.items() if name in TAKES[path]}


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one folder for all test processes: chapters share studies, which then run once."""
    folder = tmp_path_factory.getbasetemp()
    return (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "smoke-build"


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_smoke_tier_runs_from_end_to_end(path: Path, tmp_path: Path, build: Path) -> None:
    committed = (ROOT / path).read_bytes()
    run = execute(path, tmp_path, build, **smoke(path))
    assert run.returncode == 0, run.stderr
    assert (ROOT / path).read_bytes() == committed
    executed = notebooks.read(tmp_path / path)
    assert notebooks.tagged(executed, "verdict"), "no cell tagged verdict: reproduce has no answer"


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_unknown_parameter_is_refused(path: Path) -> None:
    with pytest.raises(SystemExit, match=f"^{path} has no parameter 'colour'.*[.]$"):
        chapters_tool.choose(path.stem, {"colour": "red"})


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [(path, *pair) for path in EXPERIMENTS for pair in REFUSED if pair[0] in TAKES[path]],
)
def test_bad_values_get_one_sentence(path: Path, name: str, value: str, monkeypatch) -> None:
    """The cells of the chapter, run here up to the one that refuses the value."""
    if value == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    monkeypatch.chdir(ROOT / path.parent)
    given, names = {**smoke(path), name: value}, {"__name__": "__main__"}
    with pytest.raises(ValueError) as raised:
        for cell in notebooks.read(ROOT / path).cells:
            if cell.cell_type == "code":
                exec(compile(cell.source, str(path), "exec"), names)
                if "parameters" in cell.metadata.get("tags", []):
                    names |= {key: chapters_tool.number(text) for key, text in given.items()}
    sentence = str(raised.value)
    assert sentence.startswith(f"{name}") and value in sentence and "\n" not in sentence
    assert "verdict" not in cell.metadata.get("tags", [])


def test_a_refusal_in_a_kernel_is_one_sentence_and_leaves_no_chapter(tmp_path: Path) -> None:
    path = EXPERIMENTS[0]
    run = execute(path, tmp_path, **{**smoke(path), "trials": "many"})
    assert run.returncode == 1
    (_, sentence) = run.stderr.strip().splitlines()
    assert sentence.startswith(f"{path} stopped in cell [")
    assert sentence.split("ValueError: ")[1].startswith("trials must be a positive integer, got ")
    assert not (tmp_path / path).exists()
