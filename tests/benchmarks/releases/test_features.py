"""The small twin of `features`: the same steps over few items."""

import pytest

pytest.importorskip("tensorflow", reason="needs the train extra")

from benchmarks.harness import Options
from benchmarks.releases import features


def test_devices_agree_with_training_and_the_files_are_small(tmp_path):
    found = features.run(Options(work=tmp_path), items=3000, slates=2)
    figures = found.figures
    assert (figures["declared"], figures["read_by_ranker"]) == (30, 22)
    assert (figures["compared_rows"], figures["unequal_rows"]) == (3000, 0)
    # Tables and names weigh more among few items; at a million the limit is 1.1.
    assert 1.0 < figures["bytes_over_packed"] < 4.0
    assert figures["slate_ratio"] > 0
    assert [row["format"] for row in found.rows] == [2, 3]
