"""Remake requirements.txt from pyproject.toml with uv, whose other settings stand there too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Here and not in [tool.uv.pip]: there every `uv pip` command of a reader would be refused.
EXTRAS = ("book", "cluster", "test")


def lock() -> None:
    """Write requirements.txt: exact versions for every system, then this project itself.

    Raises
    ------
    SystemExit
        Where uv finds no solution; the lock stays as it was.
    """
    command = [sys.executable, "-m", "uv", "pip", "compile", "--upgrade", "--quiet"]
    command += ["pyproject.toml", *(f"--extra={extra}" for extra in EXTRAS)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8")
    if found.returncode:
        raise SystemExit(f"uv could not lock pyproject.toml:\n{found.stderr.strip()}")
    (ROOT / "requirements.txt").write_text(found.stdout + "-e .\n", encoding="utf-8")
    pins = sum("==" in line.split(";")[0] for line in found.stdout.splitlines())
    print(f"requirements.txt: {pins} packages", file=sys.stderr)


if __name__ == "__main__":
    lock()
