"""Make the virtual environment and install the lock into it, with a progress bar.

Standard library only, in the syntax of Python 3.7: it runs before anything is installed, and says
what to do where the system's Python is too old or too new.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OLDEST, NEWEST = (3, 11), (3, 14)  # the range of requires-python in pyproject.toml
SMALL_TORCH = "https://download.pytorch.org/whl/cpu"  # torch without CUDA, for Linux
REACHED_WITHIN = 3.0  # seconds
WIDTH = 30


def spell(version: tuple[int, int]) -> str:
    """Return ``"3.11"`` for ``(3, 11)``."""
    return ".".join(map(str, version))


def supported(version: tuple[int, ...]) -> bool:
    """Whether the lock was resolved for a Python version."""
    return OLDEST <= tuple(version[:2]) <= NEWEST


def python_of(folder: Path) -> Path:
    """Return the interpreter of a virtual environment, which may not exist yet."""
    inside = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    return folder.joinpath(*inside)


def stamp_of(folder: Path) -> Path:
    """Return the file that is written when an environment is complete."""
    return folder / ".installed"


def is_current(folder: Path) -> bool:
    """Whether an environment was completed after the lock and pyproject.toml last changed."""
    stamp, inputs = stamp_of(folder), (ROOT / "requirements.txt", ROOT / "pyproject.toml")
    if not (stamp.exists() and python_of(folder).exists()):
        return False
    return all(stamp.stat().st_mtime > file.stat().st_mtime for file in inputs)


def _answers(python: str, code: str) -> bool:
    """Whether a Python runs `code` without an error."""
    try:
        return subprocess.run([python, "-c", code], capture_output=True).returncode == 0
    except OSError:
        return False


def find_python() -> str:
    """Return an interpreter that the lock was resolved for; this one, if it is one.

    Raises
    ------
    SystemExit
        Where none is found; the message says how to get one.
    """
    if supported(sys.version_info):
        return sys.executable
    for minor in range(OLDEST[1], NEWEST[1] + 1):
        found = shutil.which(f"python3.{minor}")
        if found and _answers(found, "import venv, ensurepip"):
            return found
    raise SystemExit(
        f"This project needs Python {spell(OLDEST)} to {spell(NEWEST)}, but python3 is "
        f"{spell(sys.version_info[:2])} and no python{spell(OLDEST)} to python{spell(NEWEST)} was "
        "found. With uv (`pip install uv`), `uv venv --seed --python 3.12 .venv` gets one; then "
        "give the same command again."
    )


def make_environment(folder: Path) -> None:
    """Create a virtual environment in `folder`, unless a usable one is there.

    Raises
    ------
    SystemExit
        Where it cannot be made; nothing half made is left.
    """
    usable = (
        f"import pip, sys; sys.exit(not {OLDEST} <= sys.version_info[:2] <= {NEWEST} "
        "or sys.prefix == sys.base_prefix)"
    )
    if _answers(str(python_of(folder)), usable):
        return
    python, existed = find_python(), folder.exists()
    anew = ["--clear"] if (folder / "pyvenv.cfg").exists() else []
    made = subprocess.run(
        [python, "-m", "venv", *anew, str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace",
    )  # fmt: skip
    if made.returncode == 0:
        return
    if not existed:
        shutil.rmtree(folder, ignore_errors=True)
    raise SystemExit(venv_complaint(python, folder, made.stdout))


def venv_complaint(python: str, folder: Path, output: str) -> str:
    """Return what to do about a virtual environment that could not be made, in one sentence."""
    package = re.search(r"install (\S*-venv)", output)  # Debian and Ubuntu name it
    if package:
        return (
            f"Python's venv module is incomplete here. Install it with `apt install {package[1]}` "
            "(with sudo, unless you are root), then give the same command again."
        )
    last = " ".join(output.strip().splitlines()[-1:])
    return f"{python} -m venv {folder} failed: {last}"


def small_torch() -> list[str]:
    """Return pip's options for torch without CUDA, on Linux without an NVIDIA driver, else none.

    The index is asked first, with a short time limit, so that pip does not wait for a host that
    cannot be reached.
    """
    driver = Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi")
    if platform.system() != "Linux" or driver or "PIP_EXTRA_INDEX_URL" in os.environ:
        return []
    try:
        urllib.request.urlopen(f"{SMALL_TORCH}/torch/", timeout=REACHED_WITHIN).close()
    except (OSError, ValueError):
        print(
            f"{SMALL_TORCH} cannot be reached; torch comes from pip's usual index, on Linux with "
            "CUDA (several GB).",
            file=sys.stderr,
        )
        return []
    return ["--extra-index-url", SMALL_TORCH]


def count_pins(lock: Path) -> int:
    """Return the number of packages the lock names (an upper bound: some are for other systems)."""
    return sum("==" in line.split("#")[0] for line in lock.read_text("utf-8").splitlines())


class Bar:
    """One line on a terminal that shows how far pip is, and a line a minute elsewhere.

    Parameters
    ----------
    folder
        The virtual environment; installed packages are counted there.
    total
        Number of packages expected.
    """

    def __init__(self, folder: Path, total: int) -> None:
        self.folder, self.total = folder, max(total, 1)
        self.collected, self.started, self.done = 0, time.monotonic(), threading.Event()

    def watch(self, terminal: bool) -> None:
        """Redraw twice a second until `done` is set; without a terminal, say a line a minute."""
        while not self.done.wait(0.5 if terminal else 60):
            installed = sum(1 for _ in self.folder.glob("[lL]ib/**/site-packages/*.dist-info"))
            share = min(1.0, (min(self.collected, self.total) + installed) / (2 * self.total))
            filled = round(WIDTH * share)
            seconds = time.monotonic() - self.started
            if not terminal:
                print(f"setting up: {share:.0%}, {seconds:.0f} s", file=sys.stderr, flush=True)
                continue
            bar = "#" * filled + "-" * (WIDTH - filled)
            print(f"\rsetting up [{bar}] {share:4.0%} {seconds:4.0f} s", end="", file=sys.stderr)


def run_pip(folder: Path, options: list[str]) -> tuple[int, list[str]]:
    """Install requirements.txt with pip; return its exit status and its lines."""
    bar = Bar(folder, count_pins(ROOT / "requirements.txt"))
    threading.Thread(target=bar.watch, args=[sys.stderr.isatty()], daemon=True).start()
    command = [str(python_of(folder)), "-m", "pip", "install", "--no-input"]
    command += ["--disable-pip-version-check", *options, "-r", "requirements.txt"]
    lines = []
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
        errors="replace",
    ) as pip:  # fmt: skip
        try:
            for line in pip.stdout or ():
                lines.append(line)
                bar.collected += line.startswith(("Collecting", "Requirement already"))
        except KeyboardInterrupt:
            pip.terminate()
            raise
        finally:
            bar.done.set()
    print(f"\rset up in {time.monotonic() - bar.started:.0f} s" + " " * WIDTH, file=sys.stderr)
    return pip.returncode, lines


def install(folder: Path) -> None:
    """Create `folder` if need be and install requirements.txt into it.

    Raises
    ------
    SystemExit
        Where the environment cannot be made or pip fails; pip's last words are shown.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".writable").touch()
        (folder / ".writable").unlink()
    except OSError as error:
        raise SystemExit(
            f"{folder} cannot be written ({error.strerror}); VENV=FOLDER names another place."
        ) from None
    if not any(folder.iterdir()):
        folder.rmdir()
    make_environment(folder)
    print(
        f"Installing requirements.txt into {folder} (a minute or two the first time, 1.5 GB; "
        "much more where torch brings CUDA).",
        file=sys.stderr,
    )
    options = small_torch()
    status, lines = run_pip(folder, options)
    if status and options:
        print(f"pip failed with {SMALL_TORCH}; trying without it.", file=sys.stderr)
        status, lines = run_pip(folder, [])
    if status:
        raise SystemExit("pip could not install requirements.txt:\n" + "".join(lines[-15:]))
    stamp_of(folder).write_text("", encoding="utf-8")


def main() -> int:
    """Set up the environment named on the command line, or .venv; return the exit status."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".venv").absolute()
    try:
        install(folder)
    except KeyboardInterrupt:
        print("\nStopped; the same command goes on from there.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
