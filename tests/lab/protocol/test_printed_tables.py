"""The thesis's printed numbers, found by the names of cells."""

import pytest

from mgcore.lab.protocol import CONDITIONS, printed_tables
from mgcore.lab.protocol.printed_tables import printed


@pytest.mark.parametrize(
    "study, name, value",
    [
        ("baseline-prolonged", "multigrid.last.validation", 63.6),
        ("baseline-original", "new.1.training", 88.4),
        ("strong-original", "transfer.last.training", 99.4),
        ("printed-baseline", "multigrid.1.validation", 62.9),
        ("pooling-original", "multigrid.last.gap", 99.8 - 88.0),
        ("printed-pooling", "transfer.1.validation", 91.5),
        ("classifier-pooled", "multigrid_classifier.1.training", 85.2),
        ("classifier-unpooled", "multigrid_classifier.last.validation", 38.3),
        ("classifier-package", "new.1.gap", 91.1 - 89.0),
        ("joint-literal", "multigrid.last.validation", 50.8),
        ("joint-package", "transfer_classifier.1.validation", 81.5),
        # Not printed: before training, after the last epoch of a stage, other numbers and studies.
        ("baseline-original", "multigrid.0.training", None),
        ("baseline-original", "multigrid_classifier.1.training", None),
        ("baseline-original", "coarse.last.training", None),
        ("joint-pooled", "multigrid.last.training", None),
        ("joint-pooled", "multigrid_classifier.last.gap", None),
        ("pooling-original", "landscape.transfer.radius", None),
        ("pooling-original", "survival.multigrid.conv2.mean", None),
        ("no-dct", "transfer.1.validation", None),
        ("", "transfer.1.validation", None),
    ],
)
def test_a_cell_is_what_its_table_prints(study, name, value):
    assert printed(study, name) == (value if value is None else pytest.approx(value))


def test_thesis_tables_are_complete():
    for table in (printed_tables.TABLE_4_1, printed_tables.TABLE_4_2):
        assert list(table) == list(CONDITIONS)
        assert all(set(row) == {"training", "validation"} for row in table.values())
    for table in (printed_tables.TABLE_4_3, printed_tables.TABLE_4_4):
        assert list(table) == list(CONDITIONS)
        assert all(set(row) == set(printed_tables.STAGES) for row in table.values())
        stages = [values for row in table.values() for values in row.values()]
        assert all(len(values) == len(printed_tables.COLUMNS) for values in stages)
    # Sums of all that is printed, added up apart from this file.
    pairs = [pair for row in printed_tables.TABLE_4_1.values() for pair in row.values()]
    assert sum(map(sum, pairs)) == pytest.approx(
        88.4 + 85.0 + 96.4 + 91.9 + 97.9 + 93.5 + 99.4 + 94.6 + 97.5 + 62.9 + 99.9 + 63.6
    )
