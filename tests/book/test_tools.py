"""The tools on a book of three pages, made for the test: a copy of them beside two notebooks."""

import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import execute
import nbformat.v4 as v4
import notebooks
import pytest
from notebooks import ROOT

PARAMETERS = 'tier = "paper"\ntrials: int = 3'
SLOW, QUICK = Path("book/pooling.ipynb"), Path("book/method.ipynb")
CHECK = """
if trials == "many":
    raise ValueError("trials is not\\na number")
print(tier, trials)
"""


def notebook(*cells: tuple[str, str]):
    """Return a notebook of a title and code cells, each given as (tag, source)."""
    made = v4.new_notebook(cells=[v4.new_markdown_cell("# A page")])
    for tag, source in cells:
        made.cells.append(v4.new_code_cell(source, metadata={"tags": [tag]} if tag else {}))
    return made


@pytest.fixture(scope="module")
def book(tmp_path_factory) -> Path:
    """Return the root of a small book with an experiment and a plain page."""
    root = tmp_path_factory.mktemp("book")
    shutil.copytree(ROOT / "book" / "tools", root / "book" / "tools")
    (root / "requirements.txt").write_text("-e .\n")
    (root / "mgcore").mkdir()
    (root / "mgcore" / "grids.py").write_text("# one\n")
    (root / "book" / "index.md").write_text("# A book\n")
    (root / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nparts:\n- caption: A part\n  chapters:\n"
        "  - file: book/experiment\n  - file: book/plain\n"
    )
    for name in (
        "_config.yml", "book/_ext/drop_thebe.py", "book/_ext/single_page.py",
        "book/_static/favicon.svg", "book/references.bib",
    ):  # fmt: skip
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    cells = ("parameters", PARAMETERS), ("verdict", CHECK)
    notebooks.write(notebook(*cells), root / "book" / "experiment.ipynb")
    notebooks.write(notebook(("", "print(1 + 1)")), root / "book" / "plain.ipynb")
    return root


def tool(book: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of the copied tools."""
    command = [sys.executable, str(book / "book" / "tools" / f"{name}.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=book)


def outputs(path: Path) -> list[str]:
    """Return what each code cell of a notebook printed."""
    cells = (cell for cell in notebooks.read(path).cells if cell.cell_type == "code")
    return ["".join(output.text for output in cell.outputs) for cell in cells]


def test_only_what_changed_is_executed_again(book: Path) -> None:
    out = book / "_build" / "executed" / "book"
    assert "2 of 2" in tool(book, "execute").stderr
    assert outputs(out / "experiment.ipynb")[-1] == "paper 3\n"
    assert "0 of 2" in tool(book, "execute").stderr
    chapter = book / "book" / "plain.ipynb"
    notebooks.write(notebook(("", "print(2 + 2)")), chapter)
    assert "1 of 2" in tool(book, "execute").stderr
    assert outputs(out / "plain.ipynb") == ["4\n"]
    (book / "mgcore" / "grids.py").write_text("# two\n")
    assert "2 of 2" in tool(book, "execute").stderr
    (book / "book" / "records").mkdir()
    (book / "book" / "records" / "trial.json").write_text("{}\n")
    assert "1 of 1" in tool(book, "execute", "--only", "plain").stderr
    assert outputs(chapter) == [""]  # the source was never written


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--seed", "1"], "book/experiment.ipynb has no parameter 'seed'; the parameters"),
        (["-p", "colour=red"], "book/experiment.ipynb has no parameter 'colour'; the parameters"),
        (["--only", "plain", "--tier", "smoke"], "book/plain.ipynb has no parameter 'tier'"),
        (["--only", "nothing"], "only='nothing' is no chapter of _toc.yml; the chapters are: exp"),
        (["--colour", "red"], "execute.py: unrecognized arguments: --colour red."),
        (["-p", "colour"], "execute.py: argument -p/--parameter: 'colour' is not of the form"),
    ],
)
def test_bad_arguments_get_one_sentence(book: Path, arguments, sentence: str) -> None:
    run = tool(book, "execute", *arguments)
    assert run.returncode != 0
    assert run.stderr.startswith(sentence) and run.stderr.count("\n") == 1


def test_a_failing_chapter_stops_neither_the_others_nor_hides(book: Path) -> None:
    run = tool(book, "execute", "--out", "elsewhere", "--trials", "many")
    assert run.returncode == 1
    sentence = "experiment.ipynb stopped in cell [3] with ValueError: trials is not a number"
    assert sentence in run.stderr and "Traceback" not in run.stderr
    assert (book / "elsewhere" / "book" / "plain.ipynb").exists()
    assert not (book / "elsewhere" / "book" / "experiment.ipynb").exists()
    site = tool(book, "build_site", "--executed", "elsewhere")
    assert site.returncode == 1 and site.stderr.count("\n") == 1


def test_refresh_writes_outputs_and_nothing_else(book: Path) -> None:
    before = notebooks.read(book / "book" / "experiment.ipynb")
    assert tool(book, "refresh", "--only", "experiment").returncode == 0
    after = notebooks.read(book / "book" / "experiment.ipynb")
    assert [c.source for c in after.cells] == [c.source for c in before.cells]
    assert [c.metadata for c in after.cells] == [c.metadata for c in before.cells]
    assert "papermill" not in after.metadata
    assert outputs(book / "book" / "experiment.ipynb")[-1] == "paper 3\n"


def test_reproduce_touches_no_committed_chapter_and_repeats_the_verdict(book: Path) -> None:
    before = (book / "book" / "experiment.ipynb").read_bytes()
    run = tool(book, "reproduce", "--tier", "class", "--trials", "5")
    assert run.returncode == 0, run.stderr
    assert "book/experiment.ipynb:\nclass 5\n" in run.stdout
    assert (book / "_build" / "reproduced" / "_build" / "html" / "index.html").exists()
    assert (book / "book" / "experiment.ipynb").read_bytes() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_ends_every_kernel_and_says_one_sentence(book: Path, number) -> None:
    begun = book / "begun"
    begun.unlink(missing_ok=True)
    sleeping = "import os, pathlib, time\n"
    sleeping += f"pathlib.Path({str(begun)!r}).write_text(str(os.getpid()))"
    chapter = book / "book" / "plain.ipynb"
    before = chapter.read_bytes()
    notebooks.write(notebook(("", f"{sleeping}\ntime.sleep(120)")), chapter)
    try:
        command = [sys.executable, "book/tools/execute.py", "--out", "stopped", "--only", "plain"]
        running = subprocess.Popen(
            command, cwd=book, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        while not (begun.exists() and begun.read_text()):
            assert running.poll() is None
            time.sleep(0.2)
        os.killpg(running.pid, number)  # as a terminal does, to all of the group
        _, said = running.communicate(timeout=60)
    finally:
        chapter.write_bytes(before)
    assert running.returncode == 130
    assert said.splitlines()[1].startswith("Stopped; chapters and trials")
    assert said.count("\n") == 2
    for _ in range(50):  # the kernel may take a moment
        if not Path(f"/proc/{begun.read_text()}").exists():
            break
        time.sleep(0.2)
    assert not Path(f"/proc/{begun.read_text()}").exists()


def test_what_a_study_says_meanwhile_is_passed_on(tmp_path) -> None:
    file = tmp_path / "progress.txt"
    assert execute._awaited(["a", "b"], 2.2, file) == "2 min; not yet executed: a, b"
    file.write_text("a-study: 1 of 2 trials\n")
    assert execute._awaited(["a"], 3, file).endswith("executed: a\n  a-study: 1 of 2 trials")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--tier", "$(class)"], "tier='$(class)'; accepted: 'smoke', 'class', 'paper'."),
        (["--trials", "many"], "trials must be a positive integer, got 'many'."),
        (["--tier", "class", "--trials", "0"], "trials must be a positive integer, got 0."),
    ],
)
def test_reproduce_refuses_a_wrong_value_before_it_executes(book: Path, arguments, sentence):
    run = tool(book, "reproduce", "--out", "refused", *arguments)
    assert run.returncode == 1 and run.stderr == f"{sentence}\n" and not run.stdout
    assert not (book / "refused").exists()


def test_what_is_awaited_is_said_where_there_is_no_bar(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(execute, "ProcessPoolExecutor", lambda n, *_: ThreadPoolExecutor(n))
    monkeypatch.setattr(execute, "SAY", 0.1)
    monkeypatch.setattr(execute, "run", lambda path, *_: time.sleep(0.4 * (path == SLOW)))
    (tmp_path / SLOW).parent.mkdir()
    assert execute.execute({SLOW: {}, QUICK: {}}, tmp_path) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "2 of 2 chapters to execute"
    assert set(said[1:]) == {"0 min; not yet executed: pooling"}


def test_a_site_with_a_warning_is_no_site(book: Path) -> None:
    html = book / "_build" / "html"
    page = book / "book" / "index.md"
    page.write_text("# A book\n\nSee [nothing](nowhere.md).\n")
    html.mkdir(parents=True, exist_ok=True)
    assert tool(book, "execute").returncode == 0
    run = tool(book, "build_site")
    assert run.returncode == 1 and "book/index.md:3: WARNING" in run.stderr
    assert not html.exists()
