"""The tools on a book of three pages, made for the test: a copy of them beside two notebooks."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import build_site
import code_paths
import execute
import guard
import nbformat.v4 as v4
import notebooks
import opening
import pytest
import reproduce
from notebooks import ROOT

import make
from mgcore.lab.records.files import read_json

PARAMETERS = 'tier = "paper"\ntrials: int = 3'
SLOW, QUICK = Path("book/pooling.ipynb"), Path("book/method.ipynb")
# What stands for Sphinx: it makes a page in the folder that the last argument names.
MADE_SITE = """
import pathlib, sys
html = pathlib.Path(sys.argv[-1], "_build", "html")
html.mkdir(parents=True)
(html / "index.html").touch()
"""
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
    shutil.copytree(ROOT / "book" / "_ext", root / "book" / "_ext")
    for explorer in (ROOT / "book").glob("*_explorer.html"):
        shutil.copy(explorer, root / "book")
    for name in ("_config.yml", "book/_static/favicon.svg", "book/references.bib"):
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


@pytest.fixture
def run_by_nobody(book: Path, monkeypatch) -> list[Path]:
    """Let `execute`, on the small book, do all but start kernels; return what it would run."""
    ran = []

    def run(path: Path, values, out: Path, *_) -> None:
        ran.append(path)
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(book / path, out / path)

    monkeypatch.setattr(execute, "ROOT", book)
    monkeypatch.setattr(execute, "ProcessPoolExecutor", lambda n, *_: ThreadPoolExecutor(n))
    monkeypatch.setattr(execute, "run", run)
    monkeypatch.setenv("MGCORE_PROGRESS", "")  # restored afterwards
    return ran


def test_only_what_changed_is_executed_again(book: Path, run_by_nobody) -> None:
    out, ran = book / "_build" / "executed", run_by_nobody
    experiment, plain = Path("book/experiment.ipynb"), Path("book/plain.ipynb")
    assert "2 of 2" in tool(book, "execute").stderr
    assert outputs(out / experiment)[-1] == "paper 3\n" and outputs(out / plain) == ["2\n"]
    assert outputs(book / experiment) == ["", ""]  # the source was never written

    def executed() -> list[Path]:
        ran[:] = []
        assert execute.execute({experiment: {}, plain: {}}, out) == 0
        return sorted(ran)

    assert executed() == []
    notebooks.write(notebook(("", "print(2 + 2)")), book / plain)
    assert executed() == [plain]
    (book / "mgcore" / "grids.py").write_text("# two\n")
    assert executed() == [experiment, plain]
    (book / "book" / "records").mkdir()
    (book / "book" / "records" / "trial.json").write_text("{}\n")
    assert executed() == [experiment, plain]
    (out / plain).unlink()
    assert executed() == [plain] and executed() == []


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


def test_committed_outputs_do_not_depend_on_when_a_kernel_flushes() -> None:
    made = notebook(("", "1"))
    pieces = [
        ("stdout", "a\n"),
        ("stderr", "5 %"),
        ("stdout", "b\n"),
        (None, ""),
        ("stdout", "c\n"),
    ]
    made.cells[1].outputs = [
        v4.new_output("stream", name=name, text=text) if name else v4.new_output("display_data")
        for name, text in pieces
    ]
    shown = notebooks.strip(made).cells[1].outputs
    assert [output.get("text") for output in shown] == ["a\nb\n", None, "c\n"]


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
        (["--tier", "$(class)"], "tier must be one of 'smoke', 'class', 'paper', got '$(class)'."),
        (["--trials", "many"], "trials must be a positive integer, got 'many'."),
        (["--tier", "class", "--trials", "0"], "trials must be a positive integer, got 0."),
    ],
)
def test_reproduce_refuses_a_wrong_value_before_it_executes(
    arguments, sentence, tmp_path, monkeypatch
) -> None:
    executed = []
    monkeypatch.setattr(execute, "execute", lambda *_: executed.append(_) or 1)
    with pytest.raises(SystemExit) as raised:
        reproduce.main(["--out", str(tmp_path / "refused"), *arguments])
    assert str(raised.value) == sentence and executed == []
    assert not (tmp_path / "refused").exists()


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
    whole = page.read_text("utf-8")
    page.write_text("# A book\n\nSee [nothing](nowhere.md).\n")
    html.mkdir(parents=True, exist_ok=True)
    assert tool(book, "execute").returncode == 0
    run = tool(book, "build_site")
    page.write_text(whole, encoding="utf-8")  # the other tests read the same book
    assert run.returncode == 1 and "book/index.md:3: WARNING" in run.stderr
    assert not html.exists()


def test_a_second_parameters_cell_is_refused(tmp_path) -> None:
    """Issue 22.13: it was accepted, and overrode what the command line gave."""
    made = notebook(("parameters", PARAMETERS), ("", "1"), ("parameters", 'tier = "smoke"'))
    with pytest.raises(SystemExit, match="2 cells are tagged parameters.*'tier = \"smoke\"'"):
        notebooks.parameters(made)


@pytest.mark.parametrize(
    ("text", "value"),
    [("29", 29), ("-3", -3), ("0", 0), ("0.5", 0.5), ("1e-3", 1e-3), ("None", None),
     ("True", True), ("029", "029"), ("1_000", "1_000"), ("\u0663", "\u0663"), ("+1", "+1"),
     ("nan", "nan"), ("inf", "inf"), (" 1", " 1"), ("1.", "1."), ("mnist", "mnist")],
)  # fmt: skip
def test_a_value_on_the_command_line_has_one_grammar(text, value) -> None:
    """Issue 21.15: "029" became 29, "1_000" became 1000, and "None" a string."""
    found = execute.number(text)
    assert found == value and type(found) is type(value)


def test_a_foreign_kernel_does_not_run_the_book(book: Path, tmp_path, monkeypatch) -> None:
    """Issue 21.14: a kernel `python3` on JUPYTER_PATH ran the chapters in its own environment."""
    folder = tmp_path / "kernels" / "python3"
    folder.mkdir(parents=True)
    foreign = {
        "argv": ["/bin/false", "{connection_file}"],
        "display_name": "x",
        "language": "python",
    }
    (folder / "kernel.json").write_text(json.dumps(foreign))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    chapter = book / "book" / "plain.ipynb"
    before = chapter.read_bytes()
    made = notebook(("", "import sys; print(sys.prefix)"))
    made.metadata["kernelspec"] = {"name": "py39_new", "display_name": "x", "language": "python"}
    notebooks.write(made, chapter)
    try:
        done = tool(book, "execute", "--only", "plain", "--out", "own")
        assert done.returncode == 0, done.stderr
        assert outputs(book / "own" / "book" / "plain.ipynb") == [f"{sys.prefix}\n"]
        command = [sys.executable, *make.NBVAL, "-n", "0", "-c", os.devnull]
        command += [str(book / "own" / "book" / "plain.ipynb")]
        checked = subprocess.run(command, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout
    finally:
        chapter.write_bytes(before)


def test_a_damaged_stamp_and_damaged_times_only_cost_a_run(run_by_nobody, tmp_path, capsys) -> None:
    plain = Path("book/plain.ipynb")
    for runs in (1, 2):
        assert execute.execute({plain: {}}, tmp_path) == 0 and len(run_by_nobody) == runs
        (tmp_path / "book" / "plain.sha256").write_bytes(b"\xff\xfe")
    for content in (b"\xff{", b"[]", b"", b'{"plain": 3}', b'{"plain": {"seconds": 1.5}}'):
        (tmp_path / "times.json").write_bytes(content)
        assert opening.read_times(tmp_path / "times.json") == {}
        assert "is damaged; `make refresh`" in capsys.readouterr().err


def test_a_second_tool_waits_for_the_first(book: Path) -> None:
    """Issue 22.12: two `make book` at once wrote the same files."""
    with guard.alone(book / "_build" / ".lock"):
        second = subprocess.Popen(
            [sys.executable, "book/tools/execute.py", "--only", "plain", "--out", "second"],
            cwd=book, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert second.stderr.readline().startswith("Another command is at work in this folder")
        assert not (book / "second").exists() and second.poll() is None
    second.communicate(timeout=120)
    assert second.returncode == 0


def test_a_checkout_that_cannot_be_written_is_one_sentence(tmp_path) -> None:
    (tmp_path / "_build").touch()  # a folder of another user refuses in the same way
    with pytest.raises(SystemExit, match="cannot be written .*Copy the project"):
        with guard.alone(tmp_path / "_build" / ".lock"):
            pass


def test_a_user_without_a_home_gets_one(monkeypatch, capsys) -> None:
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setenv("HOME", "x")  # restored afterwards
    monkeypatch.setattr(guard.Path, "home", homeless)
    guard.have_home()
    assert Path(os.environ["HOME"]).is_dir() and "no home folder" in capsys.readouterr().err
    os.rmdir(os.environ["HOME"])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_killing_the_executor_leaves_no_kernel(book: Path) -> None:
    """Issue 22.12: after `kill -9` a kernel and a worker stayed."""
    begun = book / "killed"
    code = f"import os, pathlib, time\npathlib.Path({str(begun)!r}).write_text(str(os.getpid()))"
    chapter = book / "book" / "plain.ipynb"
    before = chapter.read_bytes()
    notebooks.write(notebook(("", f"{code}\ntime.sleep(120)")), chapter)
    try:
        running = subprocess.Popen(
            [sys.executable, "book/tools/execute.py", "--out", "dead", "--only", "plain"], cwd=book,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while not (begun.exists() and begun.read_text()):
            assert running.poll() is None
            time.sleep(0.2)
        running.kill()
        running.wait()
    finally:
        chapter.write_bytes(before)
    for _ in range(100):
        if not Path(f"/proc/{begun.read_text()}").exists():
            return
        time.sleep(0.2)
    pytest.fail("the kernel is still there")


def test_an_interrupted_site_leaves_no_half_of_one(book: Path, monkeypatch) -> None:
    """Issue 22.12: a site stayed whose pages were not finished."""

    def interrupted(html, source):
        assert (html / "index.html").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(build_site, "polish", interrupted)
    monkeypatch.setattr(notebooks, "pages", lambda: ["index"])
    monkeypatch.setattr(build_site, "gather", lambda executed, source, edition: None)
    monkeypatch.setattr(build_site, "COMMAND", [sys.executable, "-c", MADE_SITE])
    with pytest.raises(KeyboardInterrupt):
        build_site.build(book, book / "half")
    assert not (book / "half" / "_build" / "html").exists()


def test_a_site_is_built_again_where_something_has_changed(book: Path, monkeypatch) -> None:
    source, html = book / "again" / "_build" / "site", book / "again" / "_build" / "html"
    text = ["first"]

    def gather(executed, source, edition):
        source.mkdir(parents=True, exist_ok=True)
        (source / "page.md").write_text(text[0], encoding="utf-8")

    monkeypatch.setattr(build_site, "gather", gather)
    monkeypatch.setattr(build_site, "polish", lambda html, source: None)
    monkeypatch.setattr(build_site.play, "write_stages", lambda html, edition: None)
    monkeypatch.setattr(notebooks, "pages", lambda: ["index"])
    monkeypatch.setattr(build_site, "COMMAND", [sys.executable, "-c", MADE_SITE])

    def built() -> bool:
        """Return whether a build makes the site anew."""
        (html / "kept").touch()
        build_site.build(book, book / "again")
        return not (html / "kept").exists()

    build_site.build(book, book / "again")
    assert not built()
    text[0] = "second"
    assert built() and not built()
    monkeypatch.setattr(build_site, "distributions", lambda: [])
    assert built()
    html.with_name("html.sha256").unlink()
    assert built() and source.exists()


def test_a_builder_that_leaves_pages_out_makes_no_site(book: Path, monkeypatch) -> None:
    """A pipeline was green for months without a page: the builder ended with status 0."""
    monkeypatch.setattr(build_site, "gather", lambda executed, source, edition: None)
    monkeypatch.setattr(notebooks, "pages", lambda: ["index", "book/plain"])
    for command, sentence in (
        (["-c", MADE_SITE], "it lacks book/plain, and Sphinx gave no reason"),
        (["-c", "print('done')"], "The site was not built:\ndone"),
    ):
        monkeypatch.setattr(build_site, "COMMAND", [sys.executable, *command])
        with pytest.raises(SystemExit, match=sentence):
            build_site.build(book, book / "lacking")
        assert not (book / "lacking" / "_build" / "html").exists()


def test_accuracies_on_code_paths_are_collected_beside_the_records(tmp_path, monkeypatch) -> None:
    record, file = ROOT / "book" / "records" / "pooling-original-smoke", tmp_path / "a" / "r.json"
    code_paths.collect("pooling-original", "smoke", 2, {"a path": record}, file)
    (paths,) = read_json(file)["protocols"].values()
    assert list(paths) == ["the record", "a path"] and paths["a path"] == paths["the record"]
    assert len(paths["a path"]) == 12 and all(len(v) == 2 for v in paths["a path"].values())
    code_paths.collect("pooling-prolonged", "smoke", 2, {}, file)
    assert len(read_json(file)["protocols"]) == 2
    calls = []

    def refused(command, env, **_):
        calls.append((command, env))
        return subprocess.CompletedProcess(command, -signal.SIGILL)

    monkeypatch.setattr(code_paths.subprocess, "run", refused)
    with pytest.raises(SystemExit, match="since the processor lacks these instructions"):
        code_paths.run("pooling-original", "smoke", 2, "torch AVX-512, oneDNN AVX2", tmp_path)
    ((command, env),) = calls
    assert env["ATEN_CPU_CAPABILITY"] == "avx512" and env["ONEDNN_MAX_CPU_ISA"] == "AVX2"
    assert command[2:5] == ["mgcore", "run", "pooling-original"]


def test_reproduce_without_trials_takes_the_number_of_the_tier() -> None:
    """Issue 22.6: it reproduced nothing, in four minutes."""
    both = {"tier", "trials"}
    assert reproduce.completed({}, both) == {"tier": "class", "trials": 3}
    assert reproduce.completed({"tier": "smoke"}, both) == {"tier": "smoke", "trials": 2}
    assert reproduce.completed({"trials": 7, "seed": 1}, both) == {
        "tier": "class", "trials": 7, "seed": 1,
    }  # fmt: skip
    assert reproduce.completed({}, {"tier"}) == {"tier": "class"}


def test_a_kernel_that_does_not_start_is_started_again(monkeypatch, tmp_path) -> None:
    """Two kernels that start at once can choose the same port."""
    import papermill

    tries = []

    def start(source, target, *_, **__):
        tries.append(target)
        if len(tries) < execute.STARTS:
            raise RuntimeError("Kernel died before replying to kernel_info")
        Path(target).write_text("{}")

    monkeypatch.setattr(papermill, "execute_notebook", start)
    assert execute.run(Path("book/gap.ipynb"), {}, tmp_path, 0, False) is None
    assert len(tries) == execute.STARTS and (tmp_path / "book" / "gap.ipynb").exists()
    tries[:] = []
    monkeypatch.setattr(execute, "STARTS", 2)
    monkeypatch.setattr(papermill, "execute_notebook", lambda *_, **__: 1 / 0)
    assert "ZeroDivisionError" in execute.run(Path("book/gap.ipynb"), {}, tmp_path, 0, False)


@pytest.mark.parametrize("path", notebooks.chapters(), ids=lambda path: path.stem)
def test_minutes_to_read_are_the_same_before_and_after_the_opening_line(path):
    chapter = notebooks.read(ROOT / path)
    before = opening.reading_minutes(chapter)
    assert opening.reading_minutes(opening.open_chapter(chapter, path.stem)) == before


def test_minutes_to_read_end_with_the_summary():
    cells = [v4.new_markdown_cell(f"## {name}\n\n" + "word " * opening.PACE)
             for name in ("Question", "Summary", "Exercises")]  # fmt: skip
    chapter = v4.new_notebook(cells=cells)
    assert opening.reading_minutes(chapter) == 2
    joined = v4.new_markdown_cell("\n\n".join(cell.source for cell in cells))
    assert opening.reading_minutes(v4.new_notebook(cells=[joined])) == 2
