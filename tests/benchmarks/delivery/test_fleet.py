"""The small twin of `fleet`: 24 devices, 12 of them in a bad network."""

import pytest

pytest.importorskip("rich", reason="needs the simulator extra")

from benchmarks.delivery import fleet
from benchmarks.harness import Options, document


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    options = Options(work=tmp_path_factory.mktemp("fleet") / "work")
    return fleet.run(options, devices=24, faulty=12, rate_s=0.2)


def test_every_device_converges(result):
    figures = document(result)["figures"]
    assert (figures["devices"], figures["converged"], figures["failed"]) == (24, 24, 0)
    assert (figures["faulty_devices"], figures["faulty_converged"]) == (12, 12)
    assert 0.1 < figures["fault_share"] < 0.35


def test_an_update_comes_by_delta_and_an_install_does_not(result):
    install, update, *_ = result.rows
    assert (install["by_delta"], install["most_tries"]) == (0, 1)
    assert update["by_delta"] == update["files"] >= 24
    assert update["bytes_each"] < install["bytes_each"] / 4


def test_every_server_answers_checks(result):
    rates = [row for row in result.rows if "server" in row]
    assert {row["server"] for row in rates} >= {"waitress"}
    assert {(row["connections"], row["status"]) for row in rates} == {
        (connections, status) for connections in ("kept", "one each") for status in (200, 304)
    }
    best = max(row["checks_per_s"] for row in rates if row["connections"] == "kept")
    assert 0 < result.figures["checks_per_s"] <= best
