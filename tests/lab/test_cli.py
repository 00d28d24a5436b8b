"""The command line: outcomes, exit statuses, and complaints of one sentence."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

import mgcore.lab.cli as command_line
from mgcore.lab import STUDIES, Record, study_protocol
from mgcore.lab.cli import main
from mgcore.lab.protocol.studies import CHAPTERS, DEFAULT_TRIALS
from mgcore.lab.records.record import reader_folder
from mgcore.lab.verdict.claims import criteria
from mgcore.thesis.ensemble import LOWERING

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
    assert main(["verify", str(home / "r")]) == 2
    assert "trial-000.json is truncated or altered" in capsys.readouterr().err
    assert main(smoke(home / "r")) == 0
    assert digest in capsys.readouterr().out
    assert (home / "r" / "trial-000.damaged").exists()


@pytest.mark.slow
def test_a_run_is_held_against_the_record_of_the_book(home, capsys):
    committed = home / "book" / "records" / "baseline-original-smoke"
    assert main(smoke(committed)) == 0
    assert "held against" not in capsys.readouterr().out  # it is that record itself
    assert main(smoke(home / "mine")) == 0
    said = capsys.readouterr().out
    assert f"held against {committed}: Agrees: 1 trial with" in said and "Does your run agree?" in said


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

    monkeypatch.setattr(command_line, "run_study", run_study)
    monkeypatch.setattr(command_line, "committed", lambda study, tier: None)
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


def test_a_protocol_is_named_by_its_study_alone(asked):
    with pytest.raises(SystemExit) as stop:
        main(["run", "baseline-original", "--protocol", "printed"])
    assert "--protocol" in str(stop.value) and not asked
    assert main(["run", "printed-baseline"]) == 0
    assert asked[0][0].name == "printed"


def test_a_claims_file_that_is_bad_or_absent_is_one_sentence(asked, tmp_path, capsys):
    file = tmp_path / "claims.yml"
    file.write_text("- {id: x}\n")
    for path, words in ((file, "claim 'x' of"), (tmp_path / "none.yml", "No such file")):
        assert main(["run", "baseline-original", "--criteria", str(path)]) == 2
        complaint = capsys.readouterr().err
        assert words in complaint and complaint.count("\n") == 1
    assert not asked


def test_the_plan_has_a_line_for_every_chapter_at_every_tier(monkeypatch, capsys):
    from mgcore.lab.cost import budget
    from mgcore.lab.cost.prices import Prices

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
    from mgcore.lab.cost import budget

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


def test_verify_holds_a_record_against_the_canary_of_its_methods(home, tiny, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(
        command_line, "still_holds", lambda *given: (asked.append(given), len(asked) == 1)[1]
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


@pytest.mark.parametrize("trials", ["0", "-1", "2.5", "many"])
def test_trials_must_be_a_whole_number(trials, home, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["run", "baseline-original", f"--trials={trials}"])
    complaint = str(stop.value)
    assert "trials=" in complaint and trials in complaint and "at least 1" in complaint


@pytest.mark.parametrize(
    ("name", "meant"), [("poling-original", " (did you mean 'pooling-original'?)"), ("xyz", "")]
)
def test_a_misspelled_study_gets_the_one_that_is_near(name, meant, home):
    with pytest.raises(SystemExit) as stop:
        main(["run", name])
    assert f"study={name!r}{meant}; accepted: 'baseline-original'" in str(stop.value)


@pytest.mark.parametrize(
    "given, words",
    [
        (["--tier", "colossal"], ("colossal", "paper")),
        (["--device", "abacus"], ("abacus", "cpu")),
        (["--dataset", "postcards"], ("postcards", "strokes")),
    ],
)
def test_an_unknown_choice_names_the_accepted_ones(given, words, home):
    with pytest.raises(SystemExit) as stop:
        main(["run", "baseline-original", *given])
    assert all(word in str(stop.value) for word in words)


def test_a_missing_record_and_a_missing_mnist_are_one_sentence(home, capsys, monkeypatch):
    assert main(["verify", str(home / "nothing")]) == 2
    assert "holds no record" in capsys.readouterr().err
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


def test_training_across_scales_runs_what_is_missing(tmp_path, monkeypatch, capsys):
    from mgcore.lab.scales import film
    from mgcore.lab.scales import work_grid as pareto

    asked = []
    monkeypatch.setattr(pareto, "run_pareto", lambda *given: asked.append(given))
    monkeypatch.setattr(film, "run_films", lambda *given: asked.append(given))
    (tmp_path / "pooled-0.json").write_text("{}")
    assert main(["across", str(tmp_path), "--workers", "2"]) == 0
    assert asked == [(tmp_path, 2)] * 2
    assert capsys.readouterr().out == f"{tmp_path}: 1 files\n"
