"""The page of an evaluation: what stands first, that names are escaped, that browsers take it."""

import copy
import re
from typing import Any

import pytest

from benchmarks.support.pictures.chromium import violations
from pocketrec_training.evaluation.report import render

OVER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
CUTS = ("ndcg@10", "ndcg@20", "recall@10", "recall@20", "mrr@10")
METHODS = {"two_stage": 0.11, "popularity": 0.05, "transitions": 0.1, "two_tower": 0.09}


def measured(value: float) -> dict[str, float]:
    return {"low": value - 0.01, "value": value, "high": value + 0.02}


def table(shift: float = 0.0) -> dict:
    return {
        name: {**{cut: measured(at + shift) for cut in CUTS}, "coverage@10": 0.5}
        for name, at in METHODS.items()
    }


SHOWN = ("coverage@10", "novelty_bits@10", "diversity@10", "mean_popularity@10", "exposure_gini@10")
SEGMENT = dict.fromkeys(
    ("ndcg@10", "recall@20", "best_baseline_ndcg@10", "best_baseline_recall@20", "low", "high"),
    0.08,
)
STAGES: dict[str, Any] = {
    "epochs": 9,
    "epochs_planned": 20,
    "retrieval_stopped_by": "patience",
    "ranker_losses": [0.6, 0.5, 0.45],
    "ranker_epochs": 2,
    "ranker_epochs_planned": 3,
    "ranker_stopped_by": "epochs",
    "ranker_gain": {
        "users": 900,
        "retrieval": 0.1,
        "ranker": 0.12,
        "difference": 0.02,
        "low": 0.01,
        "high": 0.03,
        "verdict": "helps",
    },
}
EXAMPLE = {
    "user": "<b>ann</b>",
    "hit": True,
    "events": 40,
    "history": [{"title": "A <script>alert(1)</script> film", "event": "like"}],
    "slate": [{"title": "Heat", "taken": True}, {"title": "Fargo", "taken": False}],
    "next": [{"title": "Heat", "hit": True, "place": "place 1 of 1,682"}],
    "more": 2,
}


def feature(name: str, loss: float) -> dict[str, Any]:
    other = {"auc_loss": -loss, "log_loss_gain": 0.0}
    return {"feature": name, "ndcg10_loss": loss, "low": loss - 0.01, "high": loss + 0.01, **other}


HITS = {"best_baseline": "ease", "hits@20": 3, "best_baseline_hits@20": 5, "low": -4.2, "high": 0.3}
FOUND: dict[str, Any] = {
    "protocol": {
        "cases": 943,
        "split": "test",
        "split_kind": "leave_last",
        "candidates": "all <unmet> items",
        "ranking": "as retrieval offers",
        "ranker": "the one that <ships>",
        "threshold": "the highest F1 on 90 validation lists",
        "importance": "Each feature is shuffled 3 times",
        "item_hits": "the fit that answers has learned from 80,000 events",
        "settings": {"all": {"cases": 900, "candidates": "all items"}},
    },
    "baseline_gain": {
        "split": "test",
        "setting": "new_to_user",
        "cases": 943,
        "rival": "transitions",
        "model_ndcg10": 0.11,
        "rival_ndcg10": 0.1,
        "difference": 0.01,
        "low": 0.002,
        "high": 0.018,
        "sentence": "two_stage <beats>",
    },
    "notes": ["the ranker <hurts>"],
    "retrieval": table(),
    "retrieval_all": table(),
    "recall_curves": {
        "new_to_user": {"k": [1, 5, 10], "methods": {name: [0.1, 0.2, 0.3] for name in METHODS}}
    },
    "beyond_accuracy": {"new_to_user": {name: dict.fromkeys(SHOWN, 0.5) for name in METHODS}},
    "best_baseline": "transitions",
    "segments": {"under 50 events": {"users": 400, **SEGMENT}},
    "target_segments": {"new items": {"cases": 30, "targets": 40, **SEGMENT}},
    "item_hits": {
        "new_to_user": {
            name: {"cases": 30, "targets": 40, **HITS} for name in ("0", "1-4", "5-19", "20+")
        }
    },
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
            "intervals": {
                name: {"low": 0.4321, "high": 0.6}
                for name in ("roc_auc", "pr_auc", "f1", "log_loss")
            },
            "threshold": 0.0123,
            "lists": 5,
            "cases": 10,
            "positives": 1,
            "positive_share": 0.1,
            "reliability": [{"predicted": 0.1, "observed": 0.2}, {"predicted": 0.8, "observed": 1}],
        }
    },
    "importance": [
        feature("numeric.price", 0.002),
        feature("item_vectors", 0.001),
        feature("numeric.year", -0.002),
    ],
    "training": [{"loss": 5.0, "ndcg10": 0.02}, {"loss": 4.0, "ndcg10": 0.09}],
    "stages": STAGES,
    "examples": {"told": "Drawn by the seed 7.", "users": [EXAMPLE]},
}


def changed(**parts) -> dict:
    found = copy.deepcopy(FOUND)
    for name, value in parts.items():
        found[name] = {**found[name], **value} if isinstance(value, dict) else value
    return found


def test_a_ranker_is_compared_with_what_it_started_from():
    gain = STAGES["ranker_gain"] | {"verdict": "not decided", "blend": 0.15}
    gain |= {"difference": -0.03, "low": -0.05, "high": 0.01}
    page = render("shop", changed(stages={"ranker_gain": gain}))
    assert "NDCG@10 0.1200 against 0.1500, difference -0.0300 (-20.0%)" in page
    assert "the release keeps the blend&#39;s order" in page
    hurt = changed(stages={"ranker_gain": STAGES["ranker_gain"] | {"verdict": "hurts"}})
    assert "so the release keeps retrieval&#39;s order: NDCG@10 0.1200 against 0.1000" in render(
        "shop", hurt
    )


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("random", "held-out items are a seeded draw of each user"),
        ("given", "held-out interactions are those of your column or files"),
        ("leave_last", ""),
    ],
)
def test_a_run_without_times_says_so_in_the_verdict(kind, told):
    page = render("shop", changed(protocol={"split_kind": kind}))
    verdict = page[page.index('id="verdict"') : page.index('id="pictures"')]
    assert ("No times." in verdict) == ("sequence and recency features are off" in verdict)
    assert ("No times." in verdict) == bool(told)
    assert told in verdict


def test_the_verdict_comes_first_then_pictures_users_and_tables():
    page = render("shop", FOUND)
    marks = (
        "beats the best simple",
        "9 of 20 epochs",
        "The ranker helps",
        "<svg",
        "Heat",
        "<table",
    )
    places = [page.index(mark) for mark in marks]
    assert places == sorted(places)
    assert "+10.0%" in page  # .11 against .1
    assert "95% interval +0.0020 to +0.0180" in page


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(-0.004, 0.01, "may be equally good"), (-0.02, -0.01, "loses to the best simple baseline")],
)
def test_the_verdict_follows_the_interval(low, high, said):
    page = render("shop", changed(baseline_gain={"low": low, "high": high}))
    assert said in page
    assert "beats the best simple baseline" not in page


def test_notes_that_the_verdict_says_are_not_said_twice():
    page = render("shop", changed(stages={"told": ["the ranker <hurts>"]}))
    assert "the ranker &lt;hurts&gt;" not in page


def test_a_training_that_was_cut_short_is_named_so():
    page = render("shop", changed(stages={"retrieval_stopped_by": "minutes"}))
    assert "cut short after 9 of 20 epochs by its limit of minutes" in page


def test_page_carries_everything_itself_and_escapes_texts():
    page = render("<shop>", FOUND)
    for bad in ("<shop>", "<script>alert", "<b>ann", "<unmet>", "<beats>", "<hurts>"):
        assert bad not in page
    assert "&lt;shop&gt;" in page
    assert page.count("<script>") == 1
    assert not re.search(r"<link|\bsrc=|\bhref=\"[^#]|url\(|@import|https?:", page)
    assert "default-src 'none'" in page


def test_the_best_of_a_column_is_bold_whoever_it_is():
    page = render("shop", FOUND)
    assert '<td class="best" data-v="0.11">0.1100</td>' in page
    assert '<td data-v="0.1">0.1000</td>' in page


def test_a_previous_evaluation_stands_beside_the_run():
    previous = {"retrieval": table(-0.02), "retrieval_all": table(-0.02)}
    gain = {"name": "<last> week", "a": 0.09, "b": 0.11, "low": 0.01, "high": 0.03}
    page = render("shop", {**FOUND, "previous_gain": {**gain, "same_cases": True}}, previous)
    assert "beats the previous run, &lt;last&gt; week, beyond chance" in page
    assert "previous NDCG@10" in page
    assert ">+0.0200</td>" in page
    assert page.count('class="previous') == 1 + 2 * len(METHODS)  # the legend, interval and point


def test_each_head_has_its_counts_threshold_and_intervals():
    page = render("shop", FOUND)
    part = page[page.index('id="ranking"') :]
    row = re.sub(r"<[^>]+>", " ", part[part.index("<tbody>") : part.index("</tbody>")]).split()
    assert row[:5] == ["engage", "5", "10", "1", "0.5000"]
    assert row[5] == "0.4321"
    assert row[-2:] == ["0.0123", "0.5000"]
    assert "the threshold has the highest F1 on 90 validation lists" in part
    assert "the one that &lt;ships&gt;" in part


def test_a_head_without_a_threshold_has_a_dash():
    ranking = copy.deepcopy(FOUND["ranking"])
    ranking["engage"] |= {"f1": None, "threshold": None}
    del ranking["engage"]["intervals"]["f1"]
    part = render("shop", changed(ranking=ranking))
    part = part[part.index('id="ranking"') :]
    row = re.sub(r"<[^>]+>", " ", part[part.index("<tbody>") : part.index("</tbody>")]).split()
    assert row[-5:] == ["-", "-", "-", "-", "0.5000"]


def test_importance_is_a_picture_of_bars_with_intervals_and_a_table():
    page = render("shop", FOUND)
    start = page.index('aria-labelledby="importance-plot-title')
    plot = page[start : page.index("</svg>", start)]
    assert plot.count("<rect") == plot.count("over whisker") == 3
    assert "The largest loss is that of price: 0.0020 of NDCG@10" in plot
    bars = [float(x) for x in re.findall(r'<rect class="model" x="([0-9.]+)"', plot)]
    assert bars[2] < bars[0] == bars[1]  # a negative loss goes to the left of 0
    assert "Each feature is shuffled 3 times" in page
    many = [feature(f"pair.f{i}", 0.02 - i / 1000) for i in range(20)]
    page = render("shop", changed(importance=many))
    assert "5 more are in the table below" in page
    assert page.count("user and item</td>") == 20


def test_hits_are_counted_by_the_items_training_events():
    page = render("shop", FOUND)
    part = page[page.index('id="item-hits-new-to-user"') :]
    rows = part[part.index("<tbody>") : part.index("</tbody>")].split("<tr>")[1:]
    cells = [re.sub(r"<[^>]+>", " ", row).split() for row in rows]
    assert ">ease hits</th>" in part
    assert [row[0] for row in cells] == ["0", "1-4", "5-19", "20+"]
    assert cells[0][1:] == ["30", "40", "3", "5", "-2", "-4", "+0"]


def test_values_are_shown_where_there_are_some():
    assert "weighted by" not in render("shop", FOUND)
    each = {"event_types": ["purchase"], "cases": 12, "total": 80.0}
    each["ndcg@20"] = {name: measured(at) for name, at in METHODS.items()}
    page = render("shop", {**FOUND, "value_ndcg": {"amount GBP": {"new_to_user": each}}})
    part = page[page.index("NDCG@20 weighted by amount GBP") :]
    assert "(purchase); new to user 12 cases with a value" in part
    assert '<td class="best" data-v="0.11">0.1100</td>' in part


def test_reports_of_little_data_have_a_page_too():
    little = changed(training=[], importance=[], notes=[])
    little |= {"ranking": {}, "segments": {}, "target_segments": {}, "stages": {}}
    del little["examples"], little["recall_curves"], little["retrieval_all"]
    page = render("shop", little)
    assert "beats the best simple baseline" in page
    assert "Example users" not in page


@pytest.fixture
def shown(tab, tmp_path):
    """The page in a tab."""
    (tmp_path / "page.html").write_text(render("shop", FOUND))
    tab.go((tmp_path / "page.html").as_uri())
    return tab


@pytest.mark.browser
def test_axe_finds_nothing_and_the_page_fits_light_and_dark(shown, axe):
    for width, scheme in ((1200, "light"), (1200, "dark"), (390, "light"), (390, "dark")):
        shown.show_as(width, scheme)
        assert shown.run(OVER) == 0, (width, scheme)
        assert violations(shown, axe) == [], (width, scheme)
    assert shown.complaints == []


@pytest.mark.browser
def test_tables_are_sorted_by_click_and_by_key(shown):
    table = "document.querySelector('[aria-labelledby=importance] table')"
    names = f"[...{table}.tBodies[0].rows].map(row => row.cells[0].textContent).join()"
    head = f"{table}.tHead.rows[0].cells[5]"  # ROC-AUC lost
    assert shown.run(names) == "price,item vectors,year"
    shown.run(f"{head}.querySelector('button').click()")
    assert shown.run(names) == "year,item vectors,price"  # numbers: the largest first
    assert shown.run(f"{head}.getAttribute('aria-sort')") == "descending"
    shown.run(f"{head}.querySelector('button').focus()")
    shown.press("Enter")
    assert shown.run(names) == "price,item vectors,year"
    assert shown.run(f"{head}.getAttribute('aria-sort')") == "ascending"
    assert shown.complaints == []
