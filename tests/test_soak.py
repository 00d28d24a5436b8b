"""Each fault of soak.py in its short form; `make soak` has the long one."""

import random

import pytest
import soak


@pytest.mark.parametrize("fault", soak.FAULTS, ids=lambda fault: fault.__name__)
def test_nothing_is_lost(fault, tmp_path):
    try:
        happened = fault(tmp_path, random.Random(6), short=True)
    except soak.Skip as reason:
        pytest.skip(str(reason))
    assert happened
