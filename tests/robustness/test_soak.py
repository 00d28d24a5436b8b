"""Each fault of soak.py in its short form; `make soak` has the long one."""

import random

import breakable
import pytest
import soak
import torch

from mgcore.lab.records.files import read_json
from mgcore.lab.trial.trial import metric_hash


@pytest.mark.parametrize("fault", soak.FAULTS, ids=lambda fault: fault.__name__)
def test_nothing_is_lost(fault, tmp_path):
    try:
        happened = fault(tmp_path, random.Random(6), short=True)
    except soak.Skip as reason:
        pytest.skip(str(reason))
    assert happened


def test_what_happened_is_kept_fault_by_fault(tmp_path):
    file = tmp_path / "bench" / "soak.json"
    first, second = (fault.__doc__ for fault in soak.FAULTS[:2])
    row = {"happened": "nothing", "seconds": 1.0, "seed": 1}
    soak.keep(file, {second: row})
    soak.keep(file, {first: row | {"seed": 2}})
    soak.keep(file, {second: row | {"seed": 3}})
    kept = read_json(file)["faults"]
    assert [(one["fault"], one["seed"]) for one in kept] == [(first, 2), (second, 3)]


def test_the_metrics_without_a_fault_do_not_depend_on_the_callers_threads():
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(metric_hash([breakable._trial.__wrapped__(0, breakable.TINY)]))
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]
