"""One thread a process, and the small protocol that the tests of the lab run."""

import os
import signal

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported; subprocesses inherit it
# What runs in a shell's background ignores Ctrl-C, and so would every program that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest  # noqa: E402
import torch  # noqa: E402

pytest.register_assert_rewrite("quoted")  # so that its assertions say what they compared

from explorer_pages import address, browser, desktop, visit  # noqa: E402, F401

from mgcore.lab.protocol import Protocol  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Keep every test away from the user's checkpoints and records."""
    monkeypatch.setenv("MGCORE_CACHE", str(tmp_path / "cache"))
    for name in ("MGCORE_RECORDS", "MGCORE_BUILD"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def own_arithmetic():
    """Keep what a test makes of this process, threads and denormal numbers, from the next one."""
    yield
    torch.set_num_threads(1)
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def tiny():
    """Return a maker of protocols whose trial takes a fraction of a second."""
    sizes = {
        "n_coarse": 24, "n_fine": 16, "n_validation": 12, "coarse_epochs": 3, "fine_epochs": 3,
        "batch": 8, "subset": 8, "resolution": 8, "dtype": "float64", "dataset": "strokes",
        "tier": "smoke", "learning_rate": 0.02, "name": "tiny",
    }  # fmt: skip
    return lambda **changes: Protocol(**(sizes | changes))


@pytest.fixture
def rng():
    """Return a generator of the test's own."""
    return torch.Generator().manual_seed(20190506)
