"""Requests run on one thread, whatever the environment says: no product is split by BLAS.

Measured by the processor time of each thread of a child process, as the system counts it, so that
other work on the machine changes nothing.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

CHILD = Path(__file__).parent / "threads_child.py"
SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "GOTO_NUM_THREADS")


@pytest.fixture(scope="module")
def others_ns(tmp_path_factory):
    """Nanoseconds that other threads worked for each kind of request; "one large product" too."""
    if not Path("/proc/self/task").exists():
        pytest.skip("only Linux counts the processor time of each thread")
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("BLAS has one thread where there is one core")
    from benchmarks.support.drawn_release import Drawn, write_drawn_release
    from pocketrec_export.conformance.tiny_bundle import POLICY, SPEC

    folder = tmp_path_factory.mktemp("threads")
    spec = replace(
        SPEC,
        candidates=1000,
        max_history=50,
        neighbours=32,
        neighbour_candidates=50,
        own_candidates=20,
    )
    policy = replace(POLICY, candidates=1000, slate=50, probes=40)
    items = Drawn.of(20_000, 64, 1)
    write_drawn_release(folder, items, "drawn", spec=spec, policy=policy, answers=True)
    environment = {k: v for k, v in os.environ.items() if k not in SETTINGS}
    done = subprocess.run(
        [sys.executable, CHILD, folder], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_product_that_blas_splits_is_seen_on_its_threads(others_ns):
    if not others_ns["one large product"]:
        pytest.skip("this BLAS has no threads")


@pytest.mark.parametrize(
    "request_kind",
    [
        "1,000 candidates",
        "200 candidates",
        "all cells",
        "rules",
        "a filter",
        "items like one",
        "search results",
        "an explanation",
    ],
)
def test_a_request_works_on_one_thread_where_the_environment_sets_none(others_ns, request_kind):
    assert others_ns[request_kind] == 0
