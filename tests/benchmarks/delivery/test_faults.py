"""The small twin of `faults`: every 40th step of each job is killed."""

import pytest

pytest.importorskip("rich", reason="needs the simulator extra")
pytest.importorskip("onnxruntime", reason="the phones run ONNX")

from benchmarks.delivery import faults
from benchmarks.harness import Options, document


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return faults.run(Options(work=tmp_path_factory.mktemp("faults") / "work"), every=40)


def test_nothing_is_lost_whatever_is_killed(result):
    figures = document(result)["figures"]
    assert figures["kill_points"] >= 25
    assert (figures["lost"], figures["unanswered"], figures["stuck"]) == (0, 0, 0)


def test_every_job_was_killed(result):
    assert [row["job"] for row in result.rows if not row["kill_points"]] == []
    assert len(result.rows) == len(faults.SCENARIOS)
