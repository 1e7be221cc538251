import json
import shutil
from pathlib import Path

import pytest

from benchmarks.support.cold_start import added_film
from benchmarks.support.demo import demo_table, demo_verdict

GAIN = {
    "model_ndcg10": 0.116,
    "rival": "transitions",
    "rival_ndcg10": 0.106,
    "difference": 0.010,
    "cases": 943,
}


@pytest.fixture
def verdict(tmp_path: Path, tiny_release: Path):
    """Return a function: interval of the gain and milliseconds of a slate -> the lines."""
    shutil.copytree(tiny_release, tmp_path / "bundle")
    (tmp_path / "report").mkdir()

    def made(low: float, high: float, difference: float = 0.01, slate_ms: float = 2.0) -> list[str]:
        gain = {**GAIN, "low": low, "high": high, "difference": difference}
        (tmp_path / "report" / "evaluation.json").write_text(json.dumps({"baseline_gain": gain}))
        found = demo_table.Found(
            work=tmp_path,
            seconds={},
            first={"bytes": 1_078_000.0},
            second={"bytes": 20_000.0, "idle_bytes": 0.0},
            latency={
                "litert": demo_table.Latency(first_slate_ms=200.0, stages={"total": [slate_ms]})
            },
            added=added_film.Found(
                phones=3, at_once=1, after_siblings=3, kept_added=4.7, kept_sibling=2.7
            ),
            title="Toy Story 2",
        )
        return demo_verdict.lines(found, tmp_path / "table.txt", tmp_path / "phone")

    return made


@pytest.mark.parametrize(
    ("low", "high", "difference", "said"),
    [
        (-0.003, 0.021, 0.01, "0.010 above the best tuned simple method (transitions, 0.106)"),
        (-0.003, 0.021, 0.01, "no clear difference among 943 users"),
        (0.002, 0.021, 0.01, ": a clear difference"),
        (-0.021, -0.002, -0.01, "0.010 below the best tuned simple method"),
    ],
)
def test_quality_is_judged_by_the_interval_of_the_difference(verdict, low, high, difference, said):
    assert said in verdict(low, high, difference)[0]


@pytest.mark.parametrize(("slate_ms", "said"), [(2.0, "within a screen"), (30.0, "longer than a")])
def test_a_slow_slate_is_named_as_slow(verdict, slate_ms, said):
    assert said in verdict(0.0, 0.1, slate_ms=slate_ms)[1]


def test_bytes_new_film_and_what_to_run_next(verdict, tmp_path: Path):
    _, _, sync, film, tables, after = verdict(0.0, 0.1)
    assert "1,078 kB at first, 20 kB for the changed catalogue, 0 bytes if nothing" in sync
    assert "a candidate for 1 of 3 users, for 3 after likes of films like it" in film
    assert "keeps 4.7 of 10 films in a slate, one of the known film nearest to it 2.7" in film
    assert str(tmp_path / "table.txt") in tables
    assert f"pocketrec device browse --home {tmp_path / 'phone'}" in after
