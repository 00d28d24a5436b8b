"""What the repository promises before anything runs: lock, Makefile, committed chapters."""

import re
import subprocess
import tomllib

import install
import notebooks
import pytest
from notebooks import ROOT
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

LOCK = (ROOT / "requirements.txt").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
CHAPTERS = notebooks.chapters()
# Cells whose output nbval does not compare: chapter, first line of the cell, and why. Only time,
# date, device, a glued figure or a drawing in SVG are reasons.
NBVAL_EXCEPTIONS: dict[tuple[str, str], str] = {
    ("baseline", 'live = chapters.run_live("baseline-original")'): "a progress bar tells the time",
    ("pooling", 'live = chapters.run_live("pooling-prolonged")'): "a progress bar tells the time",
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


def test_lock_answers_pyproject() -> None:
    project, locked = PROJECT["project"], pins()
    asked = project["dependencies"] + sum(project["optional-dependencies"].values(), [])
    for requirement in map(Requirement, asked):
        version = str(locked[requirement.name].specifier).removeprefix("==")
        assert requirement.specifier.contains(version), f"run `make lock`: {requirement}"


def test_installer_accepts_the_pythons_that_were_resolved() -> None:
    bounds = SpecifierSet(PROJECT["project"]["requires-python"])
    accepted = [(3, minor) for minor in range(8, 30) if f"3.{minor}" in bounds]
    assert accepted == list(install.SUPPORTED)


def test_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = re.findall(r"^\.PHONY: (\S+)$", makefile, re.M)
    said = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^  make (\S+)", said, re.M) == targets
    wanted = {"help", "book", "test", "test-slow", "test-all", "reproduce", "refresh", "lock"}
    wanted |= {"editions", "slides", "pdf", "setup"}
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
    assert {m.file for m in planted} >= {f"mgcore/{n}.py" for n in ("grids", "transfer", "sgd")}
