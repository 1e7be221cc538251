"""The small twin of `epoch-time`: 1,500 drawn users and tiny towers."""

import io

import numpy as np
import pytest

pytest.importorskip("keras", reason="needs the train extra")

from rich.console import Console

from benchmarks.harness import Options, document
from benchmarks.releases import epoch_time


def test_both_ways_train_the_same_events_and_the_figures_are_those_of_the_table(
    tmp_path, uncompiled
):
    written = io.StringIO()
    console = Console(file=written, width=120)
    with uncompiled():
        result = epoch_time.run(
            Options(work=tmp_path),
            {"users": 1_500, "items": 50},
            {"dim": 8, "blocks": 1, "heads": 1, "max_history": 30, "title_buckets": 8}
            | {"batch": 128},
            console,
        )
    before, after = document(result)["rows"]
    assert before["events"] == after["events"]
    assert before["shapes"] == 1 < after["shapes"]
    assert before["scored"] == before["positions"] == before["steps"] * 128 * 30
    assert after["events"] <= after["scored"] < after["positions"] < before["positions"] / 2
    figures = document(result)["figures"]
    assert figures["speedup_short"] == before["epoch_s"] / after["epoch_s"] > 0
    assert figures["scored_ratio"] > 2
    assert "epoch_s" in written.getvalue()


def test_drawn_histories_are_short():
    data = epoch_time.short_histories(4_000, 500, seed=1)
    sizes = np.diff(data.offsets)
    assert np.median(sizes) == 4
    assert sizes.min() == 2 and sizes.max() > 20
    assert np.mean(data.rows < 50) == pytest.approx(0.5, abs=0.02)
