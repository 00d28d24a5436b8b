"""What the repository promises before anything runs: lock, Makefile, committed chapters."""

import io
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import drawn
import install
import notebooks
import pytest
from notebooks import ROOT
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import make

LOCK = (ROOT / "requirements.txt").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
CHAPTERS = notebooks.chapters()
# Cells whose output nbval does not compare: chapter, first line of the cell, and why. Only time,
# date, device, a glued figure or a drawing in SVG are reasons.
NBVAL_EXCEPTIONS: dict[tuple[str, str], str] = {
    (
        "baseline",
        'live = study_page.run_live("baseline-original")',
    ): "a progress bar tells the time",
    (
        "your_network",
        "from mgcore.train.budgeted import image_flops, train",
    ): "accuracies depend on the device: one of 400 images changes sides with the processor",
    ("pooling", 'live = study_page.run_live("pooling-prolonged")'): "a progress bar tells the time",
}


def pins() -> dict[str, Requirement]:
    """Return the lock's lines by package name."""
    lines = [line for line in LOCK.splitlines() if line and not line.startswith(("#", "-"))]
    return {r.name.lower().replace("_", "-"): r for r in map(Requirement, lines)}


@pytest.mark.parametrize(
    "word",
    ["+cpu", "nvidia-", "cuda-", "triton", "--find-links", "--index-url", "--extra-index-url",
     "file:", "://", "--hash", " @ "],
)  # fmt: skip
def test_lock_names_no_host_no_path_and_no_cuda(word: str) -> None:
    assert word not in LOCK


def test_lock_pins_every_package_exactly() -> None:
    assert LOCK.splitlines()[-1] == "-e ."
    for name, requirement in pins().items():
        assert re.fullmatch(r"==[\w.]+", str(requirement.specifier)), name


@pytest.mark.parametrize(
    "pin",
    ["torch==2.13.0", "torchvision==0.28.0", "jupyter-book==1.0.4.post1", "papermill==2.7.0",
     "nbval==0.11.0"],
)  # fmt: skip
def test_lock_holds_the_pins(pin: str) -> None:
    assert pin in LOCK.splitlines()


def test_the_settings_of_uv_serve_a_reader_too() -> None:
    """Issue 22.7: with `extra` there, every `uv pip` command in the project failed."""
    assert not {"extra", "all-extras"} & set(PROJECT["tool"]["uv"]["pip"])


def test_lock_answers_pyproject() -> None:
    project, locked = PROJECT["project"], pins()
    asked = project["dependencies"] + sum(project["optional-dependencies"].values(), [])
    for requirement in map(Requirement, asked):
        version = str(locked[requirement.name].specifier).removeprefix("==")
        assert requirement.specifier.contains(version), f"run `make lock`: {requirement}"


def test_installer_accepts_the_pythons_that_were_resolved() -> None:
    bounds = SpecifierSet(PROJECT["project"]["requires-python"])
    for minor in range(8, 30):
        assert install.supported((3, minor)) == (f"3.{minor}" in bounds)
    named = f"Python {install.spell(install.OLDEST)} to {install.spell(install.NEWEST)}"
    assert named in (ROOT / "Makefile").read_text("utf-8")


def test_an_unsupported_python_is_told_what_to_type(monkeypatch) -> None:
    """Issue 21.20: a Debian with Python 3.13 alone got no further."""
    monkeypatch.setattr(install.sys, "version_info", (3, 15, 0))
    monkeypatch.setattr(install.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match="python3 is 3.15 .*`uv venv --seed --python"):
        install.find_python()
    monkeypatch.setattr(install.shutil, "which", lambda n: f"/x/{n}" if n == "python3.13" else None)
    monkeypatch.setattr(install, "_answers", lambda *_: True)
    assert install.find_python() == "/x/python3.13"


def test_binder_gets_a_supported_python_and_the_lock_with_torch_for_cpus() -> None:
    """Issue 22.14: repo2docker reads these two files and then no others."""
    version = (ROOT / ".binder" / "runtime.txt").read_text("utf-8").strip().removeprefix("python-")
    assert install.supported(tuple(map(int, version.split("."))))
    lines = (ROOT / ".binder" / "requirements.txt").read_text("utf-8").splitlines()
    read = [line for line in lines if not line.startswith("#")]
    # With "=": repo2docker takes what follows a space for a path.
    assert read == [f"--extra-index-url={install.SMALL_TORCH}", "-r ../requirements.txt"]


DEBIAN = """The virtual environment was not created successfully because ensurepip is not
available.  On Debian/Ubuntu systems, you need to install the python3-venv
package using the following command.

    apt install python3.13-venv

You may need to use sudo with that command.

Failing command: /x/bin/python3
"""


def test_debian_without_venv_is_told_what_to_install(tmp_path, monkeypatch) -> None:
    """Issue 22.2: pip's last line was kept, which says nothing, and half a folder stayed."""
    folder = tmp_path / "my venv"

    def fail(command, **options):
        Path(command[-1]).mkdir()
        return subprocess.CompletedProcess(command, 1, stdout=DEBIAN)

    monkeypatch.setattr(install, "_answers", lambda *_: False)
    monkeypatch.setattr(install.subprocess, "run", fail)
    with pytest.raises(SystemExit, match="`apt install python3.13-venv`"):
        install.make_environment(folder)
    assert not folder.exists()
    assert install.venv_complaint("p", folder, "a\nno room\n").endswith("failed: no room")


@pytest.mark.parametrize(
    ("system", "driver", "reached", "expected"),
    [("Linux", None, True, ["--extra-index-url", install.SMALL_TORCH]), ("Linux", None, False, []),
     ("Linux", "/usr/bin/nvidia-smi", True, []), ("Darwin", None, True, [])],
)  # fmt: skip
def test_linux_without_a_driver_gets_torch_without_cuda(
    system, driver, reached, expected, monkeypatch, capsys
) -> None:
    """Issue 21.21: a plain install brought 5.5 GB."""

    def urlopen(address, timeout):
        assert timeout <= 5
        if not reached:
            raise OSError("no route")
        return io.BytesIO()

    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    monkeypatch.setattr(install.Path, "exists", lambda path: False)
    monkeypatch.setattr(install.platform, "system", lambda: system)
    monkeypatch.setattr(install.shutil, "which", lambda name: driver)
    monkeypatch.setattr(install.urllib.request, "urlopen", urlopen)
    assert install.small_torch() == expected
    assert ("cannot be reached" in capsys.readouterr().err) == (not reached)


def test_an_environment_that_cannot_be_written_is_one_sentence(tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="cannot be written .*VENV=FOLDER"):
        install.install(tmp_path / "file" / "venv")


# What GNU Make 3.81, which macOS ships, misreads or does not know.
NOT_IN_3_81 = {
    "override and export on one line": r"^(export override|override export)\b",
    "override for one target": r"^[^\t#=]+:\s*(override|export|private|unexport)\b",
    "a name newer than 3.81": r"^\.(ONESHELL|SHELLSTATUS|RECIPEPREFIX|WAIT)\b",
    "an assignment newer than 3.81": r"(::=|^[^\t#]*!=)",
    "a function newer than 3.81": r"\$\((file|guile|intcmp|let) ",
    "grouped targets": r"&:",
    "undefine": r"^undefine\b",
}


@pytest.mark.parametrize("kind", NOT_IN_3_81)
def test_the_makefile_is_one_for_make_3_81(kind) -> None:
    """Issue 22.1: on a Mac no target worked, not even `make help`."""
    found = re.findall(f".*{NOT_IN_3_81[kind]}.*", (ROOT / "Makefile").read_text("utf-8"), re.M)
    assert not found


@pytest.mark.parametrize(
    "line",
    ["reproduce: override export TIER := $(value TIER)", "export override MGCORE_DATA := x",
     "book: private X := 1", ".ONESHELL:", "X ::= 1", "X != date", "$(file > x)", "a b &: c"],
)  # fmt: skip
def test_a_construct_that_make_3_81_misreads_is_found(line) -> None:
    assert any(re.search(pattern, line, re.M) for pattern in NOT_IN_3_81.values())


def fake_environment(folder: Path) -> None:
    """Make an environment whose Python prints its arguments and MGCORE_DATA."""
    python = install.python_of(folder)
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nprintf "%s " "$@"\necho "<$MGCORE_DATA>"\n')
    python.chmod(0o755)
    install.stamp_of(folder).touch()
    for name in ("requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, folder.parent)
        os.utime(folder.parent / name, (1, 1))


@pytest.mark.parametrize("start", [["make", "-s"], [sys.executable, "make.py"]])
@pytest.mark.parametrize("task", ["book", "check"])
def test_make_and_make_py_run_the_same_commands(start, task, tmp_path) -> None:
    """In an environment, and a checkout, whose names have spaces and umlauts (issue 21.25)."""
    root = tmp_path / "Ünï code"
    shutil.copytree(ROOT / "book" / "tools", root / "book" / "tools")
    shutil.copy(ROOT / "Makefile", root)
    shutil.copy(ROOT / "make.py", root)
    fake_environment(root / "my venv")
    # An outer `make test VENV=…` would pass its own VENV down.
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        [*start, task], cwd=root, capture_output=True, text=True,
        env=outside | {"VENV": "my venv", "MGCORE_DATA": "data $x"},
    )  # fmt: skip
    expected = [" ".join(step) + f" <{root / 'data $x'}>" for step in make.TASKS[task]()]
    assert done.stdout.splitlines() == expected and done.returncode == 0, done.stderr


def test_make_py_names_its_tasks_and_stops_where_one_fails(tmp_path, monkeypatch, capsys) -> None:
    assert make.main([]) == make.main(["colour"]) == 2
    shown = capsys.readouterr().err
    assert all(name in shown for name in make.TASKS)
    fake_environment(tmp_path / "venv")
    install.python_of(tmp_path / "venv").write_text("#!/bin/sh\nexit 3\n")
    monkeypatch.setenv("VENV", str(tmp_path / "venv"))
    monkeypatch.setattr(install, "is_current", lambda folder: True)
    assert make.main(["book"]) == 3


def test_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = re.findall(r"^\.PHONY: (\S+)$", makefile, re.M)
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^  make (\S+)", shown, re.M) == targets
    wanted = {"help", "book", "test", "test-slow", "test-all", "reproduce", "refresh", "lock"}
    wanted |= {"editions", "slides", "pdf", "setup", "check"}
    assert wanted | {"mutants", "soak", "bench", "clean"} == set(targets)


def test_every_page_of_the_contents_exists() -> None:
    for page in notebooks.pages():
        assert any((ROOT / f"{page}{suffix}").exists() for suffix in (".md", ".ipynb")), page


def test_every_notebook_is_in_the_contents() -> None:
    assert {p.relative_to(ROOT) for p in ROOT.glob("book/**/*.ipynb")} == set(CHAPTERS)


@pytest.mark.parametrize("path", CHAPTERS, ids=str)
class TestChapter:
    def test_has_run_without_error(self, path) -> None:
        notebook = notebooks.read(ROOT / path)
        for cell in (c for c in notebook.cells if c.cell_type == "code" and c.source.strip()):
            assert cell.execution_count, f"never run: {cell.source[:60]}"
            assert all(o.output_type != "error" for o in cell.outputs), cell.source[:60]
        assert (ROOT / path).stat().st_size < 2_000_000

    def test_keeps_no_trace_of_when_it_ran(self, path) -> None:
        notebook = notebooks.read(ROOT / path)
        for metadata in [notebook.metadata, *(cell.metadata for cell in notebook.cells)]:
            assert not set(notebooks.TRANSIENT) & set(metadata)
        assert not notebooks.tagged(notebook, "injected-parameters")

    def test_pictures_say_what_they_show(self, path) -> None:
        notebook = notebooks.read(ROOT / path)
        for cell in notebook.cells:
            shown = {mime for o in cell.get("outputs", []) for mime in o.get("data", {})}
            if shown & {"image/png", "image/svg+xml", "image/jpeg"}:
                mystnb = cell.metadata.get("mystnb", {})
                alt = mystnb.get("image", {}).get("alt") or mystnb.get("figure", {}).get("alt")
                assert alt and len(alt) > 10, f"no alt text: {cell.source[:60]}"
            for block in re.findall(r"```+\{glue:figure\}.*?```", cell.source, re.S):
                assert re.search(r"^:alt: \S", block, re.M), block[:60]

    def test_every_figure_leads_to_the_code_that_drew_it(self, path) -> None:
        figures = drawn.find(notebooks.read(ROOT / path), path)
        assert [one.anchor for one in figures if not one.functions] == []

    def test_defaults_show_the_recorded_paper_tier(self, path) -> None:
        notebook = notebooks.read(ROOT / path)
        if not (names := notebooks.parameters(notebook)):
            pytest.skip("no experiment: it has no cell tagged parameters")
        assert {"tier", "trials", "device", "dataset", "seed"} <= set(names)

    def test_says_what_a_reader_will_be_able_to_do_and_needs(self, path) -> None:
        first = notebooks.read(ROOT / path).cells[0].source
        assert "**After this chapter you can**" in first and "**You need**" in first

    def test_every_exercise_has_a_tagged_solution_and_most_run_code(self, path) -> None:
        cells = notebooks.read(ROOT / path).cells
        exercises = re.findall(r"\{exercise\}.*\n:label: (\S+)", sources(cells))
        assert len(exercises) >= 4
        tagged = [c for c in cells if "solution" in c.metadata.get("tags", [])]
        begun = re.findall(r"\{solution-start\} (\S+)", sources(tagged))
        assert sorted(begun) == sorted(exercises)
        assert begun == re.findall(r"\{solution-start\} (\S+)", sources(cells)), "an untagged one"
        inside, running, open_ = 0, set(), None
        for cell in cells:
            if found := re.search(r"\{solution-start\} (\S+)", cell.source):
                open_ = found[1]
            if open_ and cell.cell_type == "code":
                assert cell in tagged, cell.source[:60]
                running.add(open_)
            inside += open_ is not None
            if "{solution-end}" in cell.source:
                open_ = None
        assert len(running) >= 3 and inside == len(tagged)


def sources(cells) -> str:
    """Return the text of all markdown cells."""
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def test_nbval_exceptions_are_the_listed_ones() -> None:
    found = set()
    for path in CHAPTERS:
        notebook = notebooks.read(ROOT / path)
        for tag in ("nbval-ignore-output", "nbval-skip", "nbval-raises-exception"):
            for cell in notebooks.tagged(notebook, tag):
                assert tag == "nbval-ignore-output", f"{path}: {tag} hides more than output"
                found.add((path.stem, cell.source.splitlines()[0]))
    assert found == set(NBVAL_EXCEPTIONS)
    assert all(len(reason) > 10 for reason in NBVAL_EXCEPTIONS.values())


def test_every_mutant_still_fits_its_file():
    """A list of faults that no longer apply would catch nothing; reading it refuses them."""
    import mutants

    planted = [mutant for mutant in mutants.read() if not mutant.form]
    assert len(planted) >= 20
    files = {"mgcore/grids.py", "mgcore/kernels.py", "mgcore/thesis/sgd.py"}
    assert {m.file for m in planted} >= files
