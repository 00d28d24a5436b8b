"""Who runs the work: devices, processes with one thread each, jobs drawn when a worker is free."""

import os
import time
import warnings
from threading import Thread

import pytest
import torch

from mgcore.lab.run.workers import (
    choose_device,
    cores,
    everywhere,
    one_thread,
    run_parallel,
    use_tf32,
)


def divide(one, other):
    return one / other


def once_there(file, value):
    """Return `value` when `file` is there, or after half a minute."""
    for _ in range(3000):
        if file.exists():
            break
        time.sleep(0.01)
    return value


HOARD = []


def hoard(number):
    """Keep 200 MB for each job, for longer than joblib waits between two looks at a worker."""
    HOARD.append(bytearray(os.urandom(1)) * 200_000_000)
    time.sleep(1.1)
    return number


def test_a_worker_that_grows_is_replaced_without_a_word_and_loses_no_job():
    pytest.importorskip("psutil", reason="joblib measures memory with psutil")
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        found = list(run_parallel(hoard, [(k,) for k in range(8)], 2))
    assert sorted(found) == list(range(8))
    assert [str(w.message) for w in heard if "worker" in str(w.message)] == []


@pytest.mark.parametrize(
    ("device", "there", "chosen"),
    [("auto", False, "cpu"), ("auto", True, "cuda"), ("cpu", True, "cpu"), ("cuda", True, "cuda")],
)
def test_devices(device, there, chosen, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert choose_device(device) == chosen


@pytest.mark.parametrize("device", ["abacus", "", None, 0, "CUDA"])
def test_unknown_devices_get_one_sentence(device):
    with pytest.raises(ValueError) as raised:
        choose_device(device)
    assert str(raised.value) == (f"device must be one of 'auto', 'cpu', 'cuda', got {device!r}.")


def test_cuda_where_there_is_none_gets_one_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError) as raised:
        choose_device("cuda")
    assert str(raised.value) == (
        "device='cuda', but torch finds no CUDA device. Use 'cpu' or 'auto'."
    )


def test_one_worker_works_here_and_draws_a_job_when_it_is_asked():
    drawn = []

    def jobs():
        for number in range(4):
            drawn.append(number)
            yield number, 2

    results = run_parallel(divide, jobs(), workers=1)
    assert next(results) == 0.0
    assert len(drawn) <= 2
    assert list(results) == [0.5, 1.0, 1.5] and drawn == [0, 1, 2, 3]
    assert list(run_parallel(os.getpid, [()], workers=1)) == [os.getpid()]
    assert list(run_parallel(divide, [], workers=1)) == []


def test_two_workers_are_other_processes_with_one_thread_each(tmp_path):
    drawn, results, go = [], [], tmp_path / "go"

    def jobs():
        for number in range(6):
            drawn.append(number)
            yield go, number

    work = Thread(target=lambda: results.extend(run_parallel(once_there, jobs(), workers=2)))
    work.start()
    while len(drawn) < 2:
        time.sleep(0.01)
    time.sleep(0.3)
    assert drawn == [0, 1]  # both workers are busy, so nobody else is kept from the others
    go.touch()
    work.join(60)
    assert sorted(results) == drawn == list(range(6))
    assert os.getpid() not in set(run_parallel(os.getpid, [()] * 4, workers=2))
    assert set(run_parallel(torch.get_num_threads, [()] * 4, workers=2)) == {1}


@pytest.mark.parametrize("workers", [1, 2])
def test_the_error_of_a_job_is_raised_here(workers):
    with pytest.raises(ZeroDivisionError):
        list(run_parallel(divide, [(1, 2), (1, 0), (3, 2)], workers=workers))


def test_one_thread_within_and_as_before_afterwards():
    torch.set_num_threads(2)
    try:
        with pytest.raises(KeyError), one_thread():
            assert torch.get_num_threads() == 1
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert cores() >= 1


def since(file):
    """Return who was asked and when."""
    return os.getpid(), time.monotonic()


def test_everywhere_is_in_processes_that_begin_together(tmp_path):
    found = everywhere(since, tmp_path, processes=2)
    pids, times = zip(*found, strict=True)
    assert len(set(pids)) == 2 and os.getpid() not in pids
    assert abs(times[0] - times[1]) < 5  # neither waited for the other to end
    assert everywhere(divide, 3, 2, processes=1) == [1.5]


def test_tf32_is_switched_on_and_off():
    try:
        for allowed in (True, False):
            use_tf32(allowed)
            assert torch.backends.cuda.matmul.allow_tf32 is allowed
            assert torch.backends.cudnn.allow_tf32 is allowed
    finally:
        use_tf32(False)


def state():
    """Whether this process flushes denormal numbers, and its threads."""
    return float(torch.tensor(1e-310, dtype=torch.float64) * 1) == 0, torch.get_num_threads()


def test_a_caller_that_is_its_own_worker_is_left_as_it_was():
    """A worker flushes denormal numbers and has one thread; whoever asked for one need not."""
    torch.set_num_threads(2)
    assert list(run_parallel(state, [()], 1)) == [(True, 1)]
    assert state() == (False, 2)
    with pytest.raises(ZeroDivisionError):
        list(run_parallel(divmod, [(1, 0)], 1))
    assert state() == (False, 2)
    torch.set_flush_denormal(True)
    assert list(run_parallel(state, [()], 1)) == [(True, 1)]
    assert state() == (True, 2)
