"""The small twin of `sync`: 2,000 items of 16 dimensions."""

import pytest

pytest.importorskip("rich", reason="needs the simulator extra")

from benchmarks.delivery import sync
from benchmarks.harness import Options, document
from benchmarks.support.network.delta_peers import row_bound


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return sync.run(Options(work=tmp_path_factory.mktemp("sync")), items=2000, dim=16, million=3000)


def test_what_changed_is_what_moves(result):
    figures = result.figures
    assert figures["changed_bytes"] == 20 * 16
    assert figures["price_changed_bytes"] == 20 * 4
    assert figures["changed_bytes"] < figures["delta_bytes"] < figures["full_bytes"] / 20
    assert 0 < figures["price_delta_bytes"] < figures["full_bytes"] / 20
    assert figures["check_bytes"] < 2000
    assert figures["check_requests"] == 1


def test_every_changed_file_comes_by_delta(result):
    first, rows, prices = result.rows[:3]
    assert first["by_delta"] == 0
    assert rows["files"] == rows["by_delta"] == 1
    assert prices["files"] == prices["by_delta"] >= 2
    assert (rows["full_bytes"], prices["full_bytes"]) == (0, 0)
    assert document(result)["figures"]["full_bytes"] == first["full_bytes"]


def test_peers_are_measured_on_the_same_change(result):
    size = {row["method"]: row["bytes"] for row in result.rows[3:] if "rows" in row["file"]}
    assert size["bound by rows"] <= size["this project's"] < size["the whole file, xz"]
    assert size["zstd 19, long, old as dictionary"] < size["the whole file, xz"]
    assert result.figures["publish_s_1m"] > 0


def test_the_bound_is_the_changed_rows_and_which_they_are():
    old = bytes(1000 * 8)
    new = bytearray(old)
    new[80:88] = b"12345678"
    # H(1/1000) * 1000 / 8 = 1.4 bytes, and a row that xz cannot make smaller than it is
    assert row_bound(old, bytes(new), 8) == 2 + 8
