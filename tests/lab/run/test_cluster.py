"""Trials on a cluster: a real scheduler and real workers on this machine."""

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from mgcore.lab import RecordError, run_study
from mgcore.lab.run import cluster
from mgcore.lab.trial import measures
from mgcore.lab.trial.trial import metric_hash, run_trial

pytest.importorskip("distributed", reason="Dask is not installed")
LINE = "the worker tcp://127.0.0.1:"


def dask(*arguments, folder, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "dask", *arguments], cwd=folder, start_new_session=True,
        env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def end(process):
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """The address of a scheduler."""
    folder = tmp_path_factory.mktemp("scheduler")
    file = folder / "scheduler.json"
    process = dask(
        "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show",
        "--scheduler-file", str(file), folder=folder,
    )  # fmt: skip
    limit = time.monotonic() + 120
    while not file.exists():
        assert process.poll() is None and time.monotonic() < limit
        time.sleep(0.1)
    yield json.loads(file.read_text())["address"]
    end(process)


@pytest.fixture
def start(scheduler, tmp_path):
    """A starter of workers, which are ended afterwards."""
    started = []

    def one(threads=1, count=1, **environment):
        shared = {"MGCORE_CACHE": str(tmp_path / "workers")}
        for _ in range(count):
            started.append(dask(
                "worker", scheduler, "--nthreads", str(threads), "--no-nanny", "--no-dashboard",
                "--host", "127.0.0.1", "--local-directory", str(tmp_path), folder=tmp_path,
                **shared | environment,
            ))  # fmt: skip
        from distributed import Client

        with Client(scheduler, set_as_default=False) as client:
            alive = sum(process.poll() is None for process in started)
            client.wait_for_workers(alive, timeout=240)
        return started

    yield one
    for process in started:
        end(process)
    from distributed import Client

    with Client(scheduler, set_as_default=False) as client:
        limit = time.monotonic() + 60
        while client.scheduler_info()["workers"] and time.monotonic() < limit:
            time.sleep(0.1)


def cluster_size(scheduler):
    from distributed import Client

    with Client(scheduler, set_as_default=False) as client:
        return len(client.scheduler_info()["workers"])


def study(protocol, trials, scheduler, tmp_path):
    return run_study(
        protocol, trials, "cpu", record=tmp_path / "record", cache=tmp_path / "here",
        progress=False, scheduler=scheduler,
    )  # fmt: skip


def alone(protocol, trials):
    return metric_hash([
        {"trial": n, "metrics": run_trial(protocol, n)["metrics"]} for n in range(trials)
    ])  # fmt: skip


def test_a_cluster_gives_the_metrics_of_this_machine(scheduler, start, tiny, tmp_path, monkeypatch):
    """Two workers; nothing is left of the trials in their cache but coarse networks."""
    monkeypatch.setattr(measures, "DIRECTIONS", 1)
    start(count=2)
    record = study(tiny(), 5, scheduler, tmp_path)
    assert metric_hash(record.trials(5)) == alone(tiny(), 5)
    assert all(t["circumstances"]["threads"] == 1 for t in record.trials())
    left = [f.name.split("-")[0] for f in (tmp_path / "workers").glob("*.npz")]
    assert left == ["coarse"] * 5 and record.arrays()
    assert not list((tmp_path / "here").glob("*.npz"))


@pytest.mark.slow
def test_a_killed_worker_costs_nothing_but_time(scheduler, start, tiny, tmp_path):
    """kill -9 on one of two in the middle of a trial; the study completes."""
    protocol = tiny(n_coarse=64, n_fine=64)
    workers = start(count=2)

    def kill():
        while len(list((tmp_path / "record").glob("trial-*.json"))) < 1:
            time.sleep(0.02)
        os.killpg(workers[0].pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    record = study(protocol, 4, scheduler, tmp_path)
    killer.join()
    assert workers[0].wait(10) == -signal.SIGKILL and workers[1].poll() is None
    assert metric_hash(record.trials(4)) == alone(protocol, 4)


def test_workers_that_cannot_work_get_one_sentence(scheduler, start, tiny, tmp_path):
    """No workers; two threads; no data."""

    def refused(protocol):
        with pytest.raises((ValueError, RecordError)) as raised:
            study(protocol, 1, scheduler, tmp_path / protocol.dataset)
        said = str(raised.value)
        assert said.startswith(f"scheduler={scheduler!r}") and "\n" not in said
        return said

    assert "has no workers. Start one with dask worker" in refused(tiny())
    nothing = {"MGCORE_DATA": str(tmp_path / "nothing")}
    (one,) = start(**nothing)
    mnist = tiny(dataset="mnist", resolution=28)
    assert LINE in (said := refused(mnist)) and "cannot work: dataset='mnist' is not in" in said
    end(one)
    while cluster_size(scheduler):  # until it is known to be gone
        time.sleep(0.1)
    start(threads=2)
    assert LINE in (said := refused(tiny())) and "has 2 threads, and thread counts change" in said


def test_code_that_computes_something_else_is_refused():
    class Client:
        class scheduler:  # noqa: N801
            address = "tcp://x:1"

        def ncores(self):
            return {"tcp://y:2": 1}

        def run(self, *_, **__):
            return {"tcp://y:2": {"coarse": "a", "fine": "b"}}

    cluster.check_workers(Client(), None, {"coarse": "a", "fine": "b"})
    with pytest.raises(ValueError) as raised:
        cluster.check_workers(Client(), None, {"coarse": "a", "fine": "c"})
    assert str(raised.value) == (
        "scheduler='tcp://x:1': the worker tcp://y:2 has code that computes something else. "
        "Install the same versions of mgcore and torch there as here."
    )


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nowhere", "", "http://127.0.0.1:1"])
def test_a_scheduler_that_does_not_answer_gets_one_sentence(address, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "WAIT", 1)
    with pytest.raises(ValueError) as raised:
        study(tiny(), 1, address, tmp_path)
    said = str(raised.value)
    assert said.startswith(f"scheduler={address!r} does not answer (") and "\n" not in said
    assert said.endswith("the address that dask scheduler prints, such as tcp://host:8786.")


def test_a_client_that_did_not_connect_leaves_nothing_to_be_collected_later(monkeypatch):
    """Collected while another one is started, it would wait for a lock for ever."""
    from distributed import Client

    def clients():
        return sum(issubclass(type(one), Client) for one in gc.get_objects())

    monkeypatch.setattr(cluster, "WAIT", 1)
    gc.collect()
    before = clients()
    gc.disable()
    try:
        with pytest.raises(ValueError, match="does not answer"):
            cluster.connected("tcp://127.0.0.1:1").__enter__()
        assert clients() == before
    finally:
        gc.enable()


def test_without_dask_the_complaint_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match=r"needs Dask, which is not installed. Install it with"):
        with cluster.connected("tcp://x:1"):
            pass
