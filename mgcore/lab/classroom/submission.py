"""Run the code of one submission and write its answers, in a process of its own.

``python -m mgcore.lab.classroom.submission NOTEBOOK FOLDER`` is started by
:mod:`mgcore.lab.classroom.grade`.  Each answer becomes a file of arrays as soon as the cell that
gives it has run, so that a later crash or the time limit takes nothing from it.  This process
judges nothing: what a submission does to the checks here has no effect on its score.
"""

from __future__ import annotations

import ast
import io
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from mgcore.lab.classroom.checks import EXERCISES, AnswerError, collect


def code_cells(notebook: Path) -> list[str]:
    """Return the sources of a notebook's code cells, without lines for the shell or for IPython.

    Raises
    ------
    ValueError
        If the file is no notebook.
    """
    try:
        cells = json.loads(notebook.read_text("utf-8"))["cells"]
        sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(f"{notebook.name} is not a notebook.") from None
    return [
        "\n".join(line for line in source.splitlines() if not line.lstrip().startswith(("%", "!")))
        for source in sources
    ]


def assigned(source: str) -> set[str]:
    """Return the variables and functions that a cell defines; its words if it is no Python."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except SyntaxError:
        return set(source.replace("=", " ").replace("(", " ").split())
    names = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return names | {n.name for n in nodes if isinstance(n, ast.FunctionDef)}


def run(notebook: Path, folder: Path) -> None:
    """Run all cells and write ``answer-N.npz``, or ``answer-N.txt`` with the reason for none."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for number, source in enumerate(code_cells(notebook), 1):
        (folder / "cell.txt").write_text(str(number), encoding="utf-8")
        problem = ""
        try:
            with redirect_stdout(io.StringIO()):
                exec(compile(source, f"<cell {number}>", "exec"), namespace)
        except BaseException as error:  # a submission may also raise SystemExit
            words = " ".join(str(error).split())
            problem = f"Code cell {number} stops with {type(error).__name__}: {words}"
        names = assigned(source)
        for exercise, task in EXERCISES.items():
            if names & set(task.readers):
                _write(exercise, namespace, problem, folder)


def _write(exercise: int, namespace: dict[str, Any], problem: str, folder: Path) -> None:
    """Write the answer to an exercise, or the sentence that says why there is none."""
    arrays, reason = folder / f"answer-{exercise}.npz", folder / f"answer-{exercise}.txt"
    try:
        answer = collect(exercise, namespace)
    except AnswerError as error:
        sentence = f"{problem.rstrip('.')}." if problem else str(error)
        if not arrays.exists():
            reason.write_text(sentence, encoding="utf-8")
        return
    with arrays.open("wb") as file:
        np.savez(file, **answer)  # type: ignore[arg-type]


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]))
