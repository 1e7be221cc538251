"""The small twin of `sync`: 2,000 items of 16 dimensions."""

import pytest

pytest.importorskip("rich", reason="needs the simulator extra")

from benchmarks import sync
from benchmarks.harness import Options, document


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return sync.run(Options(work=tmp_path_factory.mktemp("sync")), items=2000, dim=16)


def test_what_changed_is_what_moves(result):
    figures = result.figures
    assert figures["changed_bytes"] == 20 * 16
    assert figures["price_changed_bytes"] == 20 * 4
    assert figures["changed_bytes"] < figures["delta_bytes"] < figures["full_bytes"] / 20
    assert 0 < figures["price_delta_bytes"] < figures["full_bytes"] / 20
    assert figures["check_bytes"] < 2000
    assert figures["check_requests"] <= 2  # the timestamp, and a root that is not there


def test_every_changed_file_comes_by_delta(result):
    first, rows, prices = result.rows
    assert first["by_delta"] == 0
    assert rows["files"] == rows["by_delta"] == 1
    assert prices["files"] == prices["by_delta"] >= 2
    assert (rows["full_bytes"], prices["full_bytes"]) == (0, 0)
    assert document(result)["figures"]["full_bytes"] == first["full_bytes"]
