"""Make the virtual environment and install the lock into it, with a progress bar.

Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUPPORTED = ((3, 11), (3, 12))
WIDTH = 30


def find_python() -> str:
    """Return an interpreter the lock was resolved for; this one where it is one.

    Raises
    ------
    SystemExit
        Where none is found.
    """
    if sys.version_info[:2] in SUPPORTED:
        return sys.executable
    for major, minor in SUPPORTED:
        found = shutil.which(f"python{major}.{minor}")
        if found and subprocess.run([found, "-c", "import venv"], capture_output=True).returncode:
            found = None  # a Python without its venv module, as some systems pack it
        if found:
            return found
    raise SystemExit(
        f"python3 is {sys.version_info[0]}.{sys.version_info[1]}, and neither python3.11 nor "
        "python3.12 was found; install one of them."
    )


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
            installed = sum(1 for _ in self.folder.glob("lib/python3*/site-packages/*.dist-info"))
            share = min(1.0, (min(self.collected, self.total) + installed) / (2 * self.total))
            filled = round(WIDTH * share)
            seconds = time.monotonic() - self.started
            if not terminal:
                print(f"setting up: {share:.0%}, {seconds:.0f} s", file=sys.stderr, flush=True)
                continue
            bar = "#" * filled + "-" * (WIDTH - filled)
            print(f"\rsetting up [{bar}] {share:4.0%} {seconds:4.0f} s", end="", file=sys.stderr)


def install(folder: Path) -> None:
    """Create `folder` if need be and install requirements.txt into it.

    Raises
    ------
    SystemExit
        Where the environment cannot be made or pip fails; pip's last words are shown.
    """
    python = find_python()
    made = subprocess.run([python, "-m", "venv", str(folder)], capture_output=True, text=True)
    if made.returncode:
        last = (made.stderr or made.stdout).strip().splitlines()[-1:]
        raise SystemExit(f"{python} -m venv {folder} failed: {' '.join(last)}")
    print(
        f"Installing requirements.txt into {folder} (a minute or two the first time, 1.5 GB; "
        "much more where torch brings CUDA).",
        file=sys.stderr,
    )
    bar = Bar(folder, count_pins(ROOT / "requirements.txt"))
    watched = sys.stderr.isatty()
    threading.Thread(target=bar.watch, args=[watched], daemon=True).start()
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--no-input"]
    command += ["--disable-pip-version-check", "-r", "requirements.txt"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as pip:
        assert pip.stdout is not None
        lines = []
        for line in pip.stdout:
            lines.append(line)
            bar.collected += line.startswith(("Collecting", "Requirement already"))
    bar.done.set()
    print(f"\rset up in {time.monotonic() - bar.started:.0f} s" + " " * WIDTH, file=sys.stderr)
    if pip.returncode:
        raise SystemExit("pip could not install requirements.txt:\n" + "".join(lines[-15:]))


if __name__ == "__main__":
    install(Path(sys.argv[1] if len(sys.argv) > 1 else ".venv").absolute())
