"""The direction of imports: no circle, no arrow backwards, nothing private across wings."""

import ast
from pathlib import Path

import pytest
from house import arrows, circles, modules, wing

ROOT = Path(__file__).resolve().parents[1]

# Each package may import what stands to its left; what shares a place may not import each other.
# A name is a module or a folder, seen from the package.
ORDER = {
    "mgcore": [
        {"grids"},
        {"kernels", "operators", "data", "optimize"},
        {"refinement", "thesis", "multigrid"},
        {"train", "analysis"},
        {"lab"},
        {"__main__"},
    ],
    "mgcore.lab": [
        {"protocol"},
        {"records"},
        {"trial"},
        {"run"},
        {"verdict"},
        {"choices", "scales", "cost", "classroom"},
        {"figures", "pages"},
        {"cli"},
    ],
}


def faults(root: Path) -> list[str]:
    """Return a sentence for everything that is wrong with the imports."""
    graph = arrows(root)
    said = [f"circle: {', '.join(group)}" for group in circles(graph)]
    for package, order in ORDER.items():
        place = {name: number for number, group in enumerate(order) for name in group}
        for start, end, _ in graph:
            one, other = wing(start, package), wing(end, package)
            if one is None or other is None or one == other:
                continue
            for name in (one, other):
                if name not in place:
                    said.append(f"unplaced: {package}.{name} stands nowhere in ORDER")
            if place.get(one, 0) <= place.get(other, -1):
                said.append(f"backwards: {start} imports {end}")
    for start, end, name in graph:
        private = name.startswith("_") and not name.startswith("__")
        if private and start.rpartition(".")[0] != end.rpartition(".")[0]:
            said.append(f"private: {start} imports {name} of {end}")
    return sorted(set(said))


def test_imports_run_in_one_direction():
    assert faults(ROOT) == []


ONE_SYSTEM_ONLY = {
    "fcntl", "grp", "msvcrt", "pty", "pwd", "resource", "syslog", "termios", "tty", "winreg",
}  # fmt: skip


def test_no_module_needs_one_operating_system_to_be_imported():
    """On Windows every module can be imported; a function may use such a module and say so."""
    found = []
    for file in product_files():
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import):
                names = {alias.name for alias in node.names}
            else:
                names = {node.module} if isinstance(node, ast.ImportFrom) else set()
            found += [
                f"{file.relative_to(ROOT)}: {name}" for name in sorted(names & ONE_SYSTEM_ONLY)
            ]
    assert found == []


def product_files() -> list[Path]:
    """Return every Python file that is no test."""
    tools = (ROOT / "book" / "tools").glob("*.py")
    return [*modules(ROOT).values(), *sorted(tools), ROOT / "make.py"]


TEXT_METHODS = {"read_text", "write_text", "run", "Popen", "open", "check_output"}


def without_encoding(source: str) -> list[int]:
    """Return the lines of calls that read or write text in the encoding of the locale."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        words = [a.value for a in node.args if isinstance(a, ast.Constant)]
        binary = any(isinstance(w, str) and "b" in w for w in words[:2])
        text = "text" in given or "universal_newlines" in given
        if name in ("read_text", "write_text"):
            text = "utf-8" not in words
        elif isinstance(node.func, ast.Name) and name == "open":
            text = not binary
        if name in TEXT_METHODS and text and "encoding" not in given:
            found.append(node.lineno)
    return found


def test_text_does_not_depend_on_the_locale():
    """With LC_ALL=en_US.ISO-8859-1, or on Windows, the encoding of the locale is not UTF-8."""
    found = {
        str(file.relative_to(ROOT)): lines
        for file in product_files()
        if (lines := without_encoding(file.read_text(encoding="utf-8")))
    }
    assert found == {}
    faulty = "open(f)", "f.read_text()", "f.write_text('b')", "subprocess.run(c, text=True)"
    assert all(without_encoding(line) for line in faulty)
    right = "open(f, 'rb')", "f.read_text('utf-8')", "run(c)", "run(c, encoding='utf-8')"
    assert not any(without_encoding(line) for line in right)


def test_no_level_has_more_rooms_than_a_person_can_see_at_once():
    for folder in {file.parent for file in modules(ROOT).values()}:
        rooms = [
            p for p in folder.iterdir()
            if (p.suffix == ".py" and p.stem not in ("__init__", "__main__"))
            or (p / "__init__.py").exists()
        ]  # fmt: skip
        assert len(rooms) <= 13, f"{folder.relative_to(ROOT)}: {len(rooms)}"


def plant(root: Path, **sources: str) -> Path:
    """Write a small package with the given modules, named with __ for a dot."""
    for name, source in sources.items():
        file = root / "mgcore" / f"{name.replace('__', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
        for folder in [file.parent, *file.parent.parents]:
            if folder == root:
                break
            (folder / "__init__.py").touch()
    return root


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        (
            {"grids": "", "refinement__a": "from mgcore.refinement.b import x",
             "refinement__b": "def f():\n    from mgcore.refinement import a"},
            "circle: mgcore.refinement.a, mgcore.refinement.b",
        ),
        (
            {"grids": "import mgcore.lab.run.cluster", "lab__run__cluster": ""},
            "backwards: mgcore.grids imports mgcore.lab.run.cluster",
        ),
        (
            {"lab__records__record": "from ..run import cluster", "lab__run__cluster": ""},
            "backwards: mgcore.lab.records.record imports mgcore.lab.run.cluster",
        ),
        (
            {"lab__cost__plan": "from mgcore.lab.scales.film import x", "lab__scales__film": ""},
            "backwards: mgcore.lab.cost.plan imports mgcore.lab.scales.film",
        ),
        (
            {"grids": "_step = 1", "refinement__a": "from mgcore.grids import _step"},
            "private: mgcore.refinement.a imports _step of mgcore.grids",
        ),
        (
            {"grids": "", "novelty": "from mgcore import grids"},
            "unplaced: mgcore.novelty stands nowhere in ORDER",
        ),
    ],
)  # fmt: skip
def test_a_planted_fault_is_found(sources, said, tmp_path):
    assert said in faults(plant(tmp_path, **sources))


def test_no_two_test_files_share_a_name():
    """Pytest imports a test file by its name alone, and refuses the second."""
    names = [file.name for file in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names))
