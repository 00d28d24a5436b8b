"""Prices of pieces of work: all can be had, from as many processes as asked for."""

import pytest

from mgcore.lab.cost import prices
from mgcore.lab.cost.plan import pieces
from mgcore.lab.cost.prices import Piece, measure_prices, price
from mgcore.lab.protocol.studies import STUDIES, study_protocol

WHATS = ("step", "forward", "prepare", "features", "pass", "local", "value", "product")


@pytest.mark.parametrize("what", WHATS)
def test_every_piece_has_a_price(what):
    assert 0 < price(Piece(what, 8, True, "float64"), 0.0) < 1


def test_the_studies_are_made_of_these_pieces():
    needed = pieces(study_protocol(study, "class") for study in STUDIES)
    assert {piece.what for piece in needed} == set(WHATS)
    assert {piece.resolution for piece in needed} == {14, 28}


def test_a_price_is_for_one_image(monkeypatch):
    """A piece that takes a second for ten images."""
    clock = iter(range(1000))
    monkeypatch.setattr(prices, "_work", lambda piece: (lambda: None, 10))
    monkeypatch.setattr(prices.time, "perf_counter", lambda: next(clock))
    assert price(Piece("step", 8, True, "float64"), 0.0) == pytest.approx(0.1)


@pytest.mark.parametrize("processes", [1, 2])
def test_prices_are_measured_in_processes_at_once(processes):
    wanted = [Piece("forward", 8, True, "float64"), Piece("value", 8, False, "float32")]
    found = measure_prices(wanted, processes, budget=0.02)
    assert set(found.seconds) == set(wanted) and found.processes == processes
    assert all(0 < seconds < 1 for seconds in found.seconds.values()) and found.startup >= 0
