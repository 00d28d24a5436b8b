"""The command line: outcomes, exit statuses, and complaints of one sentence."""

import pytest

from mgcore.__main__ import main


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
    assert "1 trials, metrics " in printed
    digest = printed.split()[-1]
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


@pytest.mark.parametrize("trials", ["0", "-1", "2.5", "many"])
def test_trials_must_be_a_whole_number(trials, home, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["run", "baseline-original", f"--trials={trials}"])
    complaint = str(stop.value)
    assert "trials=" in complaint and trials in complaint and "at least 1" in complaint


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
