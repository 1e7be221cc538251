"""The small twin of `fleet`: 24 devices, 12 of them in a bad network."""

import pytest

pytest.importorskip("rich", reason="needs the simulator extra")

from benchmarks import fleet
from benchmarks.harness import Options, document


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    options = Options(work=tmp_path_factory.mktemp("fleet") / "work")
    return fleet.run(options, devices=24, faulty=12)


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
