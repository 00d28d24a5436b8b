"""The command line: outcomes, exit statuses, and complaints of one sentence."""

import os
import re
import signal
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import pytest

import mgcore
import mgcore.lab.cli as command_line
from mgcore.data.published import PUBLISHED
from mgcore.lab import STUDIES, Record, study_protocol
from mgcore.lab.cli import main
from mgcore.lab.cost.table import PARTS
from mgcore.lab.protocol.studies import CHAPTERS, DEFAULT_TRIALS
from mgcore.lab.records.record import reader_folder, records_folder
from mgcore.lab.run.workers import DEVICES
from mgcore.lab.verdict.agreement import Agreement
from mgcore.lab.verdict.claims import criteria
from mgcore.thesis.lowerings import LOWERING, LOWERINGS

CLAIMS = Path(__file__).resolve().parents[2] / "book" / "claims.yml"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Be in a folder with an empty book/records."""
    (tmp_path / "book" / "records").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def smoke(folder, *more):
    return ["run", "baseline-original", "--tier", "smoke", "--trials", "1", "--workers", "1",
            "--device", "cpu", "--record", str(folder), *more]  # fmt: skip


@pytest.mark.slow
def test_run_then_verify_then_damage(home, capsys):
    assert main(smoke(home / "r")) == 0
    printed = capsys.readouterr().out
    digest = re.search(r"1 trials, metrics ([0-9a-f]+)", printed)[1]
    assert main(["verify", str(home / "r"), "--against", str(home / "r")]) == 0
    printed = capsys.readouterr().out
    assert digest in printed and "behaves as it did" in printed and "identical" in printed
    trial = home / "r" / "trial-000.json"
    trial.write_text(trial.read_text().replace("validation_loss", "validation_less", 1))
    assert main(["verify", str(home / "r")]) == 1
    assert "trial-000.json is truncated or altered" in capsys.readouterr().out
    assert main(smoke(home / "r")) == 0
    assert digest in capsys.readouterr().out
    assert (home / "r" / "trial-000.damaged").exists()


@pytest.mark.slow
def test_a_run_is_held_against_the_record_of_the_book(home, capsys):
    committed = home / "book" / "records" / "baseline-original-smoke"
    assert main(smoke(committed)) == 0
    assert "no other record" in capsys.readouterr().out  # it is that record itself
    assert main(smoke(home / "mine")) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1].startswith(f"Compared with {committed}: Agrees: 1 trial")


def test_stopping_says_where_the_study_stands(home, tiny, monkeypatch, capsys):
    from mgcore.lab.run import study as run

    def interrupted(work, jobs, workers):
        yield work(*next(jobs))
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run_parallel", interrupted)
    monkeypatch.setattr(command_line, "study_protocol", lambda *_: tiny())
    assert main([*smoke(home / "r"), "--trials", "4", "--quiet"]) == 130
    said = capsys.readouterr().err
    assert f"stopped; 1 of 4 trials are in {home / 'r'}, 25% of the work is done" in said
    assert "the same command goes on" in said


@pytest.fixture
def asked(monkeypatch):
    """What run_study was asked for, in place of running it."""
    calls = []

    def run_study(protocol, trials, device, **options):
        calls.append((protocol, trials, device, options))
        trials = [{"trial": 0, "metrics": {}}]
        return SimpleNamespace(folder=Path("folder"), trials=lambda count: trials)

    monkeypatch.setattr("mgcore.lab.run.study.run_study", run_study)
    monkeypatch.setattr("mgcore.lab.records.study.committed", lambda study, tier: None)
    return calls


UNASKED = {
    "workers": None, "progress": True, "scheduler": None,
    "tf32": False, "lowering": LOWERING,
}  # fmt: skip


@pytest.mark.parametrize("study", STUDIES)
def test_every_study_runs_by_its_name(study, asked, capsys):
    assert main(["run", study, "--trials", "3"]) == 0
    ((protocol, trials, device, options),) = asked
    assert protocol == study_protocol(study) and (trials, device) == (3, "auto")
    own = reader_folder(study, protocol)  # the chapters look there too
    assert options == UNASKED | {"record": own, "criteria": criteria(CLAIMS)}
    assert "folder: 1 trials, metrics " in capsys.readouterr().out


def test_options_reach_the_study(asked):
    assert main(["run", "joint-pooled", "--tier", "smoke", "--seed", "4", "--device", "cpu",
                 "--workers", "2", "--record", "here", "--criteria", str(CLAIMS), "--quiet",
                 "--scheduler", "tcp://x:1", "--tf32", "--lowering", "grouped"]) == 0  # fmt: skip
    ((protocol, trials, device, options),) = asked
    assert protocol == study_protocol("joint-pooled", "smoke", "strokes", 4)
    assert (trials, device) == (DEFAULT_TRIALS["smoke"], "cpu")
    written = criteria(CLAIMS)
    assert options == {
        "record": Path("here"), "workers": 2, "criteria": written, "progress": False,
        "scheduler": "tcp://x:1", "tf32": True, "lowering": "grouped",
    }  # fmt: skip
    assert len(written) >= 20 and set(map(len, written.values())) == {12}


def test_a_claims_file_that_is_bad_or_absent_is_one_sentence(asked, tmp_path, capsys):
    file = tmp_path / "claims.yml"
    file.write_text("- {id: x}\n")
    for path, words in ((file, "claim 'x' of"), (tmp_path / "none.yml", "No such file")):
        assert main(["run", "baseline-original", "--criteria", str(path)]) == 2
        complaint = capsys.readouterr().err
        assert words in complaint and complaint.count("\n") == 1
    assert not asked


def test_the_plan_has_a_line_for_every_chapter_at_every_tier(monkeypatch, capsys):
    from mgcore.lab.cost import plan as budget
    from mgcore.lab.cost.plan import Prices

    cost = budget.Cost(seconds=7200.0, memory_gib=2.0, disk_mb=30.0)
    monkeypatch.setattr(budget, "prices_for", lambda *_: Prices({}, 1.0, 2))
    monkeypatch.setattr(budget, "predict", lambda *_: cost)
    monkeypatch.setattr(command_line.os, "getloadavg", lambda: (0.1, 3.0, 3.0))
    assert main(["plan", "--tier", "class", "--trials", "2"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    chapters = [line[1] for line in lines[1:-1] if line[1] in CHAPTERS]
    assert chapters == list(CHAPTERS) * 3
    studies = [line[1] for line in lines[1:-1] if line[1] in STUDIES]
    assert sorted(studies) == sorted(STUDIES) and len(lines) == 2 + 3 * len(CHAPTERS) + len(STUDIES)
    assert lines[1] == ["smoke", "baseline", "2", "8.0", "h", "2.0", "120"]
    assert lines[-1][:3] == ["On", "2", "processes:"] and "does not" in " ".join(lines[-1])
    monkeypatch.setattr(command_line.os, "getloadavg", lambda: (2.4, 0.0, 0.0))
    assert main(["plan", "--tier", "class", "--trials", "2"]) == 0
    assert "load 2.4 on 2 processes" in capsys.readouterr().out.splitlines()[-1]


def test_a_plan_is_checked_by_running(monkeypatch, capsys, tmp_path):
    from mgcore.lab.cost import plan as budget

    asked = []
    monkeypatch.setattr(
        budget, "check", lambda *given: (asked.append(given), {"pooling": (100.0, 150.0)})[1]
    )
    file = tmp_path / "bench" / "plan.json"
    asking = ["plan", "--tier", "smoke", "--check", "pooling", "--trials", "1", "--json", str(file)]
    assert main(asking) == 0
    found, about = budget.read_check(file)
    assert found == {"pooling": (100.0, 150.0)}
    assert (about["tier"], about["trials"]) == ("smoke", 1) and about["machine"] and about["date"]
    assert asked == [(["pooling"], "smoke", 1, None)]
    assert "100 s" in (said := capsys.readouterr().out) and "1.50" in said


def test_verify_compares_a_record_with_the_fingerprint_of_its_methods(
    home, tiny, monkeypatch, capsys
):
    asked = []
    monkeypatch.setattr(
        "mgcore.lab.run.fingerprint.still_holds",
        lambda *given: (asked.append(given), len(asked) == 1)[1],
    )
    for name, retraining in (("a", "sgd"), ("b", "joint")):
        record = Record.create(home / "book" / "records" / name, tiny(retraining=retraining))
        record.fingerprint = {"x": 1.0}
    assert main(["verify"]) == 1  # the second is stale
    assert [(values, protocol.newton_method) for values, protocol in asked] == [
        ({"x": 1.0}, ""), ({"x": 1.0}, "steihaug"),
    ]  # fmt: skip
    printed = capsys.readouterr().out
    assert printed.index("behaves as it did") < printed.index("STALE")


@pytest.mark.parametrize(
    ("agrees", "method", "status"),
    [(True, "means", 0), (None, "means", 0), (False, "means", 1), (None, "none", 2)],
)
def test_a_comparison_that_is_undecided_is_no_error(
    agrees, method, status, home, tiny, monkeypatch, capsys
):
    """As after `mgcore run`: too few trials to tell is an outcome of what was asked."""
    monkeypatch.setattr("mgcore.lab.run.fingerprint.still_holds", lambda *_: True)
    outcome = Agreement(agrees, method, "An outcome.")
    monkeypatch.setattr("mgcore.lab.verdict.agreement.compare", lambda *_: outcome)
    for name in "ab":
        Record.create(home / name, tiny()).fingerprint = {"x": 1.0}
    assert main(["verify", str(home / "a"), "--against", str(home / "b")]) == status
    assert "An outcome." in capsys.readouterr().out


def test_verify_reports_every_damaged_record_and_file(home, tiny, monkeypatch, capsys):
    """Issue 21.11: `verify` stopped at the first damaged record."""
    monkeypatch.setattr("mgcore.lab.run.fingerprint.still_holds", lambda *_: True)
    records = home / "book" / "records"
    for name in "abcd":
        Record.create(records / name, tiny()).fingerprint = {"x": 1.0}
    (records / "a" / "protocol.json").write_text("{}")
    (records / "b" / "protocol.json").unlink()  # its trials are still there
    for number in (0, 3):
        (records / "b" / f"trial-00{number}.json").write_text("{}")
        (records / "c" / f"trial-00{number}.json").write_text("{}")
    (records / "c" / "figures.json").write_text("")
    assert main(["verify"]) == 1
    printed = capsys.readouterr().out
    for file in ("a/protocol.json", "records/b holds no record", "c/trial-000.json",
                 "c/trial-003.json", "c/figures.json"):  # fmt: skip
        assert file in printed, file
    assert "Records: 4; damaged, stale or in disagreement: 3." in printed


def started(*arguments, code="", **options):
    """Start the command line in a process of its own."""
    call = ["-c", code] if code else ["-m", "mgcore"]
    return subprocess.Popen(
        [sys.executable, *call, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, **options,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["--help"], 0), (["run", "--help"], 0), (["--version"], 0), (["list"], 0), (["run", "x"], 2),
     (["bench", "x"], 2), ([], 2)],
)  # fmt: skip
def test_help_version_list_and_usage_errors_do_not_wait_for_torch(arguments, status):
    code = (
        "import sys\nfrom mgcore.lab.cli import main\ntry:\n    status = main(sys.argv[1:])\n"
        "except SystemExit as stop:\n    status = stop.code or 0\n"
        "sys.exit(99 if 'torch' in sys.modules or 'scipy' in sys.modules else status)"
    )
    process = started(*arguments, code=code)
    process.communicate()
    assert process.returncode == status


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "baseline-original", "--trials=0"], "--trials: expected a positive integer"),
        (["run", "baseline-original", "--trials=2.5"], "got '2.5'"),
        (["run", "baseline-original", "--trials=029"], "got '029'"),
        (["run", "baseline-original", "--seed=1_000"], "--seed: expected an integer, got '1_000'"),
        (["run", "poling-original"], "did you mean 'pooling-original'? See mgcore run --help."),
        (["run", "xyz"], "there is no study 'xyz'; `mgcore list` shows all studies."),
        (["run", "baseline-original", "--tier", "colossal"], "colossal"),
        (["run", "baseline-original", "--device", "abacus"], "abacus"),
        (["run", "baseline-original", "--protocol", "printed"], "--protocol"),
        (["bench", "nothing"], "nothing"),
        (["bench", "newton", "--networks", "3"], "--networks"),
        (["colour"], "colour"),
        ([], "required: COMMAND"),
    ],
)
def test_a_usage_error_is_one_sentence_and_exits_2(arguments, words, capsys):
    """Issue 21.18: usage errors exited 1, and parts of `bench` were not checked."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    message = capsys.readouterr().err
    assert stop.value.code == 2 and words in message and message.count("\n") == 1
    assert not re.search(r"[.;?!]\s*[.;]", message), "doubled punctuation"


def test_an_unknown_data_set_is_refused_before_work(home, capsys):
    assert main(["run", "baseline-original", "--dataset", "postcards"]) == 2
    assert "postcards" in capsys.readouterr().err


def test_the_choices_are_those_of_the_modules_that_load_torch():
    assert command_line.DEVICES == DEVICES and command_line.LOWERINGS == LOWERINGS
    assert command_line.PUBLISHED == tuple(PUBLISHED)  # which the help of --dataset names
    for part in PARTS:
        assert command_line.read_arguments(["bench", part]).part == part
    assert tuple(command_line.SIZES) == mgcore.lab.protocol.TIERS


def test_version_and_list(home, capsys, monkeypatch):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0 and capsys.readouterr().out == f"mgcore {mgcore.__version__}\n"
    folder = home / "book" / "records" / "baseline-original-class"
    folder.mkdir()
    (folder / "trial-000.json").touch()
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(STUDIES)
    assert lines[1].endswith("class 1") and "Table 4.1" in lines[1] and "no pooling" in lines[1]
    monkeypatch.chdir(folder.parent.parent.parent.parent)
    assert main(["list"]) == 0 and "not inside the project" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["list"], ["verify", str(records_folder() / "baseline-original-smoke")]]
)
def test_a_closed_pipe_is_no_traceback(arguments):
    """Issue 22.12: `verify | head -1` ended in a traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run(
        [sys.executable, "-m", "mgcore", *arguments], stdout=writing, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    os.close(writing)
    assert process.returncode == 130 and process.stderr == ""


def test_an_ascii_terminal_gets_its_output(monkeypatch):
    """Issue 22.12: a sign that the terminal lacks ended the command after its work was done."""
    code = "import mgcore.lab.cli as c\nc.COMMANDS['list'] = lambda _: print('28×28') or 0\n"
    code += "import sys; sys.exit(c.main(['list']))"
    process = started(code=code, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert process.communicate() == ("28?28\n", "") and process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_an_import_waits_for_its_end(tmp_path, number):
    """Issue 22.12: numpy and scipy, interrupted while imported, failed with a RecursionError."""
    (tmp_path / "slow.py").write_text(
        "try:\n"
        "    print('importing', flush=True)\n"
        "    deadline = __import__('time').time() + 1\n"
        "    while __import__('time').time() < deadline: pass\n"
        "except BaseException:\n"
        "    print('swallowed')\n"
        "print('imported', flush=True)\n"
    )
    code = "import time, mgcore.lab.cli as c\n"
    code += "def command(_):\n    import slow\n    time.sleep(60)\n"
    code += "c.COMMANDS['list'] = command\nimport sys; sys.exit(c.main(['list']))"
    process = started(code=code, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)})
    assert process.stdout.readline() == "importing\n"
    process.send_signal(number)
    output, message = process.communicate(timeout=30)
    assert (process.returncode, output) == (130, "imported\n"), message
    assert message.startswith("mgcore: stopped; ") and message.count("\n") == 1


def test_the_locale_c_and_a_missing_home_are_enough(tmp_path):
    """Issue 21.25, in a folder with spaces, an umlaut and more than 127 characters."""
    folder = tmp_path / "Ünï code" / ("x" * 128)
    folder.mkdir(parents=True)
    kept = {k: v for k, v in os.environ.items() if k not in ("HOME", "LANG", "PYTHONUTF8")}
    process = started("list", cwd=folder, env=kept | {"LC_ALL": "C"})
    shown, said = process.communicate()
    assert process.returncode == 0 and "baseline-original" in shown and not said


def test_run_and_verify_outside_the_project_with_a_record(tmp_path, monkeypatch, tiny, capsys):
    """Issue 22.11: both stopped even with a folder named."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command_line, "study_protocol", lambda *_: tiny())
    assert main(["run", "baseline-original", "--trials", "1"]) == 2
    assert "give --record FOLDER." in capsys.readouterr().err

    def absent(package):
        raise PackageNotFoundError(package)

    # Issue 22.8: a package on the path alone computed a trial and then could not record it.
    monkeypatch.setattr("mgcore.lab.run.study.version", absent)
    assert main([*smoke(tmp_path / "r"), "--quiet"]) == 0
    assert main(["verify", str(tmp_path / "r")]) == 0
    (trial,) = Record(tmp_path / "r").trials()
    assert trial["circumstances"]["versions"]["mgcore"] == mgcore.__version__


def test_bench_says_what_it_measures(monkeypatch, capsys, tmp_path):
    """Issue 22.13: `bench` printed nothing for 200 s."""
    from mgcore.lab.cost import table as bench_table

    for name in PARTS:
        row = bench_table.Row(name, name, 1.0, "s")
        monkeypatch.setitem(bench_table.PARTS, name, lambda row=row: [row])
    file = tmp_path / "table.json"
    assert main(["bench", "--json", str(file)]) == 0
    shown = capsys.readouterr()
    assert all(name in shown.err and name in shown.out for name in PARTS) and file.exists()
    assert main(["bench", "rates", "--repeats", "2"]) == 0
    assert capsys.readouterr().out.split()[0] == "rates"


def test_a_missing_record_and_a_missing_mnist_are_one_sentence(home, capsys, monkeypatch):
    assert main(["verify", str(home / "nothing")]) == 2
    assert "no record was found in" in capsys.readouterr().err
    monkeypatch.setenv("MGCORE_DATA", str(home))
    assert main(["run", "baseline-original", "--tier", "class", "--trials", "1", "--workers", "1",
                 "--record", str(home / "r")]) == 2  # fmt: skip
    complaint = capsys.readouterr().err
    assert "MGCORE_DATA" in complaint and "dataset='strokes'" in complaint
    assert "Traceback" not in complaint


def test_a_record_below_a_file_cannot_be_made(home, capsys):
    (home / "file").write_text("")
    assert main(smoke(home / "file" / "r")) == 2
    assert "cannot be made" in capsys.readouterr().err


def test_the_multiverse_runs_what_is_missing_and_counts_universes(tmp_path, monkeypatch, capsys):
    from mgcore.lab.choices import multiverse

    asked = []
    monkeypatch.setattr(multiverse, "run_multiverse", lambda *given: asked.append(given))
    monkeypatch.setattr(multiverse, "read_multiverse", lambda folder: [{}] * 8)
    assert main(["multiverse", str(tmp_path), "--workers", "2"]) == 0
    assert asked == [(tmp_path, 2)]
    assert capsys.readouterr().out == f"{tmp_path}: 8 universes\n"


@pytest.mark.parametrize(
    ("command", "module", "runner"),
    [
        ("across", "work_grid", "run_work_grid"),
        ("size-change", "size_change", "run_size_changes"),
        ("fitted-map", "fitted_map", "run_fitted_maps"),
    ],
)
def test_experiments_on_two_grids_run_what_is_missing(
    command, module, runner, tmp_path, monkeypatch, capsys
):
    asked = []
    monkeypatch.setattr(f"mgcore.lab.scales.{module}.{runner}", lambda *given: asked.append(given))
    (tmp_path / "pooled-0.json").write_text("{}")
    assert main([command, str(tmp_path), "--workers", "2"]) == 0
    assert asked == [(tmp_path, 2)]
    assert capsys.readouterr().out == f"{tmp_path}: 1 files\n"
