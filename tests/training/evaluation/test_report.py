import re
import shutil
import subprocess

import pytest

from pocketrec_training.evaluation.plots import ticks
from pocketrec_training.evaluation.report import render


def measured(value: float) -> dict[str, float]:
    return {"low": value - 0.01, "value": value, "high": value + 0.02}


CUTS = ("ndcg@10", "ndcg@20", "recall@10", "recall@20", "mrr@10")
METHODS = {"popularity": 0.05, "transitions": 0.1, "two_tower": 0.09}
RETRIEVAL = {
    name: {**{cut: measured(at) for cut in CUTS}, "coverage@10": 0.5}
    for name, at in METHODS.items()
}
SHOWN = ("coverage@10", "novelty_bits@10", "diversity@10", "mean_popularity@10", "exposure_gini@10")
SEGMENT = dict.fromkeys(
    ("ndcg@10", "recall@20", "best_baseline_ndcg@10", "best_baseline_recall@20"), 0.08
)
FOUND = {
    "protocol": {
        "cases": 943,
        "split": "test",
        "split_kind": "leave_last",
        "candidates": "all <unmet> items",
        "ranking": "as retrieval offers",
        "settings": {"all": {"cases": 900, "candidates": "all items"}},
    },
    "baseline_gain": {"difference": -0.01, "sentence": "two_stage <loses>"},
    "notes": ["the ranker <hurts>"],
    "retrieval": RETRIEVAL,
    "retrieval_all": RETRIEVAL,
    "beyond_accuracy": {"new_to_user": {name: dict.fromkeys(SHOWN, 0.5) for name in METHODS}},
    "best_baseline": "transitions",
    "segments": {"under 50 events": {"users": 400, **SEGMENT}},
    "target_segments": {"new items": {"cases": 30, "targets": 40, **SEGMENT}},
    "baselines": {
        "tuned_on": "NDCG@10 of validation",
        "left_out": ["als: implicit is not installed"],
        "chosen": [
            {
                "method": "ease",
                "setting": "all",
                "parameters": {"l2": 100.0},
                "fitted_on": "train+valid",
                "at_edge": ["l2"],
            }
        ],
    },
    "ranking": {
        "engage": {
            **dict.fromkeys(("roc_auc", "pr_auc", "f1", "log_loss", "ece"), 0.5),
            "cases": 10,
            "calibration": [{"predicted": 0.1, "observed": 0.2}, {"predicted": 0.8, "observed": 1}],
        }
    },
    "importance": [{"feature": "price", "auc_loss": 0.01, "ndcg10_loss": 0.002}],
    "training": [{"loss": 5.0, "ndcg10": 0.02}, {"loss": 4.0, "ndcg10": 0.09}],
}


@pytest.mark.parametrize(
    ("top", "expected"),
    [(1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (0.093, [0, 0.02, 0.04, 0.06, 0.08, 0.1])],
)
def test_ticks_are_round_and_cover_the_values(top, expected):
    assert ticks(top) == pytest.approx(expected)


def test_page_carries_everything_itself_and_escapes_names():
    page = render("<shop>", FOUND)
    assert "&lt;shop&gt;" in page
    assert "<shop>" not in page
    assert "all &lt;unmet&gt; items" in page
    assert page.index("two_stage &lt;loses&gt;") < page.index("the ranker &lt;hurts&gt;")
    assert page.index("the ranker &lt;hurts&gt;") < page.index("<table")
    assert "<td>train+valid</td><td>l2 100</td><td>l2</td>" in page
    assert not re.search(r"<script|<link|\bsrc=|\bhref=|url\(|@import", page)


@pytest.mark.browser
def test_chromium_shows_tables_and_plots_without_complaint(tmp_path):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium on the PATH")
    (tmp_path / "page.html").write_text(render("shop", FOUND))
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    words += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=400,2000"]
    # The one script is ours, so that the page's own width on a small screen can be read.
    page = tmp_path / "page.html"
    page.write_text(
        page.read_text()
        + "<script>document.body.dataset.over = document.documentElement.scrollWidth"
        " - document.documentElement.clientWidth</script>"
    )
    done = subprocess.run(
        [chromium, *words, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    dom = done.stdout
    assert dom.count("<table>") == 8
    assert dom.count("<svg ") == dom.count("<figcaption>") == 3
    for label in ("epoch", "NDCG@10", "predicted probability", "observed share"):
        assert f">{label}</text>" in dom
    assert dom.count('<line class="model"') == 3  # an interval and its two ends
    assert 'data-over="0"' in dom
    assert "CONSOLE" not in done.stderr
