"""The installed package, outside of a checkout: commands, records and types."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow
USE = """
import torch, mgcore
assert "environment" in mgcore.__file__, mgcore.__file__
fine = mgcore.refine(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3, padding=1)), (1, 8, 8))
assert fine(torch.ones(1, 1, 16, 16)).shape == (1, 2, 16, 16)
"""


def shown(command, cwd, status=0):
    """Run a command in a folder and return what it printed."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MGCORE_DATA")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def environment(tmp_path):
    """Return a maker of environments that hold mgcore; what mgcore needs is this environment's."""
    source = tmp_path / "source"  # setuptools builds inside the folder that it is given
    shutil.copytree(ROOT / "mgcore", source / "mgcore")
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, source)

    def make(*options):
        folder = tmp_path / "environment"
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        binaries = folder / ("Scripts" if os.name == "nt" else "bin")
        python = str(binaries / "python")
        purelib = "import sysconfig; print(sysconfig.get_path('purelib'))"
        site = Path(shown([python, "-c", purelib], tmp_path).strip())
        (site / "needs.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
        pip = [python, "-m", "pip", "install", "--quiet", "--no-deps", *options]
        subprocess.run([*pip, "."], cwd=source, check=True)
        return binaries

    return make


def revealed_type(binaries, folder):
    """Return what mypy says of `refine_kernel` to a project of its own."""
    (folder / "project.py").write_text("import mgcore\nreveal_type(mgcore.refine_kernel)\n")
    (folder / "mypy.ini").write_text("[mypy]\n[mypy-torch.*]\nfollow_imports = skip\n")
    python = str(binaries / "python")
    mypy = [sys.executable, "-m", "mypy", "--no-incremental", "--python-executable", python]
    return shown([*mypy, "project.py"], folder)


def test_the_wheel_works_outside_a_checkout(environment, tmp_path):
    binaries = environment()
    command = str(binaries / "mgcore")
    outside = tmp_path / "outside"
    outside.mkdir()
    shown([str(binaries / "python"), "-c", USE], outside)
    assert "baseline-original" in shown([command, "list"], outside)
    run = [command, "run", "baseline-original", "--tier", "smoke", "--trials", "1", "--record"]
    shown([*run, "record"], outside)
    assert len(list((outside / "record").glob("trial-*.json"))) == 1
    assert "record" in shown([command, "verify", "record"], outside)
    assert "def (stencil: " in revealed_type(binaries, outside)


def test_an_editable_install_shows_its_types(environment, tmp_path):
    """By setuptools' default it is an import hook, which type checkers cannot follow."""
    binaries = environment("--config-settings", "editable_mode=compat", "--editable")
    assert "def (stencil: " in revealed_type(binaries, tmp_path)
