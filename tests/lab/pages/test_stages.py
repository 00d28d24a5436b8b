"""Tables of the experiments in two stages, on trials made by hand."""

from handmade import body, study

from mgcore.lab.pages.stages import optimizer_table, stage_table
from mgcore.lab.protocol.printed_tables import TABLE_4_3


def test_the_optimizer_table_has_the_six_columns_of_the_thesis():
    table = optimizer_table(study(offs=(1.0,)).trials, TABLE_4_3)
    cells = body(table)["multigrid"]
    ours = [text.split("\n")[0] for text in cells]
    assert ours == ["41.0", "30.0", "35.0", "81.0", "70.0", "75.0"]
    printed = [text.split("\n")[1] for text in cells]
    assert printed[2] == "thesis 38.3" and printed[5] == "thesis 62.4"


def test_the_stage_table_follows_the_gap_from_before_the_stage_to_its_end():
    table = stage_table({"x": study(offs=(1.0, 3.0))}, "So.")
    assert table.caption.startswith("So. Gap: ")
    cells = [text.split(" ± ") for text in body(table)["x\nmultigrid"]]
    # Training 5, 40 + off, 50; validation 5, 30, 35.
    assert [mean for mean, _ in cells] == ["0.0", "12.0", "15.0", "15.0", "30.0"]
    assert [half for _, half in cells] == ["0.0", "12.7", "0.0", "0.0", "0.0"]  # 12.706 √2 / √2
    assert list(body(table)) == ["x\nnew", "x\ntransfer", "x\nmultigrid"]
