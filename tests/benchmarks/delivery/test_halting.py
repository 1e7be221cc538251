"""The small twin of `halting`: the same cases that matter, few repetitions."""

import pytest

pytest.importorskip("rich", reason="needs the simulator extra")

from benchmarks.delivery import halting
from benchmarks.delivery.halting import CASES
from benchmarks.harness import Options, document


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    wanted = (
        "fails everywhere",
        "everywhere, 1 network forges success",
        "sound, 1 network forges failure",
    )
    cases = tuple(case for case in CASES if case.name in wanted)
    options = Options(work=tmp_path_factory.mktemp("halting"))
    return document(halting.run(options, cases, repetitions=2))["figures"]


def test_a_release_that_fails_everywhere_is_halted_and_no_network_prevents_it(figures):
    for case in ("fails_everywhere", "everywhere_1_network_forges_success"):
        assert figures[f"{case}.new_halted"] == 1
        assert 100 < figures[f"{case}.new_failed"] < 200
    assert figures["fails_everywhere.old_failed"] == 100
    assert figures["everywhere_1_network_forges_success.old_failed"] > 300


def test_a_network_that_halted_a_sound_release_does_so_no_more(figures):
    assert figures["sound_1_network_forges_failure.old_halted"] == 1
    assert figures["sound_1_network_forges_failure.new_halted"] == 0
