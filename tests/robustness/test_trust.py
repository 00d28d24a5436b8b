"""What comes from outside is data and nothing else: no pickle, no code, no path elsewhere."""

import ast
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import notebooks
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from notebooks import ROOT

import mgcore.lab.cli as command
from mgcore.lab import STUDIES, Protocol, Record, RecordError, study_protocol
from mgcore.lab.pages import study_page
from mgcore.lab.protocol import CONDITIONS
from mgcore.lab.records.checkpoints import load
from mgcore.lab.records.files import as_text
from mgcore.lab.run.study import check_trials
from mgcore.lab.run.workers import choose_device
from mgcore.lab.trial.trial import metric_hash
from mgcore.lab.verdict.agreement import compare
from mgcore.lab.verdict.metrics import cell

SOURCES = [*ROOT.glob("mgcore/**/*.py"), *ROOT.glob("book/**/*.py")]
FORBIDDEN_MODULES = {"pickle", "cPickle", "shelve", "marshal", "dill", "cloudpickle", "code"}
FORBIDDEN_CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "joblib.load", "yaml.load",
    "yaml.unsafe_load", "np.loads", "read_pickle", "os.execv", "os.spawnv", "subprocess.getoutput",
}  # fmt: skip


def complaints(source: str) -> list[str]:
    """Return what a piece of Python does that data from outside must never reach."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [name for name in names if name.split(".")[0] in FORBIDDEN_MODULES]
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        options = {k.arg: ast.unparse(k.value) for k in node.keywords}
        if name in FORBIDDEN_CALLS:
            found.append(name)
        if name in ("np.load", "numpy.load") and options.get("allow_pickle") != "False":
            found.append("np.load without allow_pickle=False")
        if name == "torch.load" and options.get("weights_only") != "True":
            found.append("torch.load without weights_only=True")
        if options.get("shell", "False") != "False" or options.get("allow_pickle") == "True":
            found.append(f"{name} with shell or pickle")
    return found


@pytest.mark.parametrize(
    "source",
    ["import pickle", "from pickle import loads", "eval(x)", "np.load(f)", "os.system(x)",
     "np.load(f, allow_pickle=True)", "torch.load(f)", "subprocess.run(x, shell=True)",
     "yaml.load(f)", "import joblib; joblib.load(f)"],
)  # fmt: skip
def test_the_scan_notices(source):
    assert complaints(source)


def test_no_code_loads_a_pickle_or_runs_what_it_is_given():
    assert len(SOURCES) > 60
    bad = {str(p.relative_to(ROOT)): complaints(p.read_text("utf-8")) for p in SOURCES}
    for path in notebooks.chapters():
        cells = [c for c in notebooks.read(ROOT / path).cells if c.cell_type == "code"]
        bad[str(path)] = complaints("\n".join(cell.source for cell in cells))
    # A quiz computes its numbers from expressions in the book's own files; no parameter names one.
    assert bad.pop("book/tools/teaching.py") == ["eval"]
    # A submission of a class is code, and is run in a process of its own, with a time limit.
    assert bad.pop("mgcore/lab/classroom/submission.py") == ["exec", "compile"]
    assert {name: found for name, found in bad.items() if found} == {}


class Harm:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def test_a_pickle_in_an_array_file_is_refused_and_not_run(tmp_path, tiny):
    made = tmp_path / "harm"
    buffer = io.BytesIO()
    about = np.array(json.dumps({"epoch": 1, "history": [], "seconds": {}}))
    np.savez(buffer, about=about, **{"weights/x": np.array([Harm(made)], dtype=object)})
    pickle.loads(pickle.dumps(Harm(made)))  # it would
    assert made.exists()
    made.unlink()
    (tmp_path / "checkpoint.npz").write_bytes(buffer.getvalue())
    assert load(tmp_path / "checkpoint.npz", "cpu") is None
    record = Record.create(tmp_path / "record", tiny())
    record.write_arrays({"x": np.ones(2)})
    import hashlib

    (record.folder / "figures.npz").write_bytes(buffer.getvalue())
    digest = {"figures.npz": hashlib.sha256(buffer.getvalue()).hexdigest()}
    (record.folder / "figures.json").write_text(as_text(digest))
    with pytest.raises(RecordError, match="figures.npz is missing, truncated or altered"):
        record.arrays()
    assert not made.exists()


HARMFUL = ['"; import os; os.abort()', "$(touch harm)", "`touch harm`", "a\nimport os", "'''", "\\",
           "${PWD}", "; touch harm", "../../x", "{{ 7 }}"]  # fmt: skip


@pytest.mark.parametrize("value", HARMFUL)
def test_papermill_parameters_become_literals(value):
    from papermill.translators import papermill_translators

    translate = papermill_translators.find_translator("python3", "python").codify
    tree = ast.parse(translate({"tier": value, "trials": 3}))
    assert [type(node) for node in tree.body] == [ast.Assign] * 2
    assert ast.literal_eval(tree.body[0].value) == value
    with pytest.raises(ValueError, match="tier must be one of"):
        study_page.obtain("baseline-original", tier=value)


@pytest.mark.parametrize("value", [v for v in HARMFUL if "\n" not in v])
def test_make_hands_parameters_on_as_they_are(value, tmp_path):
    """The shell that make starts never reads them as code."""
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / ".installed").touch()
    show = venv / "bin" / "python"
    show.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    show.chmod(0o755)
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements.txt", "pyproject.toml"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1, 1))
    told = subprocess.run(
        ["make", "-s", "reproduce", f"VENV={venv}", f"TIER={value}"], cwd=tmp_path,
        capture_output=True, text=True,
    )  # fmt: skip
    assert told.stdout.splitlines() == ["book/tools/reproduce.py", f"--tier={value}"], told.stderr
    assert not (tmp_path / "harm").exists()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from([10**400, -1, 0, 1e308, "../x", "a\nb", "²", "\x00"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner,
                                                                max_size=3),
    max_leaves=6,
)  # fmt: skip
FUZZ = settings(
    max_examples=400, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


def one_sentence(function, *given):
    """Call; return the result, or None after a refusal of one sentence. All else is a failure."""
    try:
        return function(*given)
    except (ValueError, FileNotFoundError) as error:
        said = str(error)
        assert said and "\n" not in said and said.endswith("."), said
        return None


FIELDS = sorted(Protocol.printed().to_json())


@FUZZ
@given(st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), JSON, max_size=4))
def test_a_protocol_is_accepted_or_refused(changes):
    found = one_sentence(Protocol.from_json, Protocol.printed().to_json() | changes)
    if found is not None:
        assert Protocol.from_json(json.loads(json.dumps(found.to_json()))) == found
        found.key(), found.objective("coarse"), found.objective("fine")
    one_sentence(Protocol.from_json, list(changes.values()))


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A whole record of two trials, to be spoilt, and another to compare it with."""
    folder = tmp_path_factory.mktemp("records")
    row = {"images": "all"} | {
        f"{of}_{what}": 50.0 for of in ("training", "validation")
        for what in ("accuracy", "loss", "objective")
    }  # fmt: skip
    history = [{"epoch": e, **row} for e in range(3)]
    small = {"tier": "smoke", "dataset": "strokes"}
    for name, seed in (("spoilt", 0), ("other", 1)):
        record = Record.create(folder / name, Protocol.printed(**small, seed=seed))
        record.fingerprint = {"plain/loss": 2.25}
        record.write_arrays({"blocks": np.ones(3)})
        for number in range(2):
            record.add({
                "trial": number, "metrics": {name: history for name in ("coarse", *CONDITIONS)},
                "measures": {"landscape": {"coarse": {"radius": [1.0], "loss": 0.5}}},
                "circumstances": {"seconds": {"whole": 1.5}},
            })  # fmt: skip
    return folder


def use(folder: Path, other: Path) -> None:
    """Read everything that a record holds, and put it to use."""
    record = one_sentence(Record, folder)
    if record is None:
        return
    one_sentence(lambda: record.fingerprint)
    one_sentence(record.arrays)
    trials = one_sentence(record.trials)
    if trials:
        metric_hash(trials)
        for name in ("new.last.gap", "landscape.coarse.radius", "landscape.coarse.curvature"):
            one_sentence(cell, trials[0], name)
    one_sentence(compare, record, Record(other))
    one_sentence(compare, Record(other), record)


NAMES = ["protocol.json", "canary.json", "figures.json", "figures.npz", "trial-000.json",
         "trial-001.json", "trial-²2.json", "trial-7.json"]  # fmt: skip


@settings(FUZZ, max_examples=500)
@given(
    st.sampled_from(NAMES), st.sampled_from(["bytes", "json", "checked", "grafted"]), JSON,
    st.binary(max_size=40), st.randoms(use_true_random=False),
)  # fmt: skip
def test_a_malformed_record_is_read_or_refused(good, name, kind, value, content, draw):
    """Bytes; JSON; JSON with a checksum; and a good file with a value grafted in, checksummed."""
    file, folder = good / "spoilt" / name, good / "spoilt"
    before = file.read_bytes() if file.exists() else None
    try:
        if kind == "grafted" and before is not None and name.endswith("json"):
            whole = json.loads(before)
            whole.pop("sha256")
            place, key = whole, draw.choice(sorted(whole))
            while draw.random() < 0.7 and isinstance(place[key], dict | list) and place[key]:
                place = place[key]
                keys = sorted(place) if isinstance(place, dict) else range(len(place))
                key = draw.choice(list(keys))
            place[key] = value
            content = as_text(whole).encode()
        elif kind == "checked" and isinstance(value, dict):
            content = as_text(value).encode()
        elif kind != "bytes":
            content = json.dumps(value).encode()
        file.write_bytes(content)
        use(folder, good / "other")
    finally:
        file.unlink() if before is None else file.write_bytes(before)


def test_a_record_of_folders_links_and_depths_is_refused(good, tmp_path):
    for name in NAMES[:6]:
        shutil.rmtree(tmp_path / "r", ignore_errors=True)
        shutil.copytree(good / "spoilt", tmp_path / "r")
        (tmp_path / "r" / name).unlink()
        (tmp_path / "r" / name).mkdir()
        use(tmp_path / "r", good / "other")
        (tmp_path / "r" / name).rmdir()
        (tmp_path / "r" / name).symlink_to(tmp_path / "r" / name)
        use(tmp_path / "r", good / "other")
        (tmp_path / "r" / name).unlink()
        (tmp_path / "r" / name).write_text("[" * 100_000)
        use(tmp_path / "r", good / "other")


@FUZZ
@given(JSON, JSON, JSON, JSON, JSON)
def test_parameters_are_accepted_or_refused_and_paths_stay_inside(tier, trials, device, data, seed):
    """Each alone and all together; what runs would write below _build/records alone."""
    places = []

    def run(protocol, count, device, *, record, **_):
        places.append(Path(record))
        raise RecordError("reached; accepted: nothing.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study_page, "run_study", run)
        for study in (tier, "baseline-original"):
            for given in (
                (study, tier, trials, device, data, seed), (study, "smoke", 1, "cpu", data, seed),
                (study, tier), (study, "smoke", trials), (study, "smoke", 1, device),
                (study, "smoke", 1, "cpu", "strokes", seed),
            ):  # fmt: skip
                one_sentence(study_page.obtain, *given)
    inside = (ROOT / "_build" / "records").resolve()
    assert all(inside in place.resolve().parents for place in places)
    for function in (check_trials, choose_device, study_protocol):
        one_sentence(function, trials)


WORDS = st.text(max_size=6) | st.sampled_from([*list(STUDIES)[:3], "smoke", "strokes", "1", "0"])


@settings(FUZZ, max_examples=150)
@given(
    st.sampled_from(["run", "plan", "verify", "bench", "calibrate", "x"]),
    st.lists(WORDS, max_size=2),
    st.dictionaries(
        st.sampled_from(["--tier", "--dataset", "--seed", "--trials", "--device", "--record",
                         "--workers", "--scheduler", "--criteria", "--against", "--json", "--no"]),
        WORDS, max_size=3,
    ),
)  # fmt: skip
def test_a_command_line_is_accepted_or_refused(name, words, options):
    """Up to where work would begin."""

    def stop(*_, **__):
        raise RecordError("reached; accepted: nothing.")

    asked = [name, *words, *(f"{option}={value}" for option, value in options.items())]
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", said)
        patch.setattr("mgcore.lab.records.files.records_folder", stop)
        patch.setattr("mgcore.lab.run.study.run_study", stop)
        for one in ("plan", "bench", "calibrate"):
            patch.setitem(command.COMMANDS, one, stop)
        try:
            status = command.main(asked)
        except SystemExit as leave:
            status = leave.code
    assert status in (0, 1, 2)
    if status:
        text = said.getvalue()
        assert text.startswith("mgcore: ") and text.count("\n") == 1, text
