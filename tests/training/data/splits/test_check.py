"""A split that leaves no cases is refused before training; one that ties spoil is warned of."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("keras", reason="needs the train extra")


from pocketrec.cli import main
from pocketrec_training.data.dataset import TEST, VALID, load_dataset
from pocketrec_training.data.ingest import build_tables
from pocketrec_training.data.splits.check import (
    check_heads,
    check_split,
    tie_warning,
    tied_last_share,
)
from pocketrec_training.errors import RecipeInvalidError, RunInvalidError
from pocketrec_training.evaluation.evaluate import evaluate
from pocketrec_training.recipe.load import load_recipe, parse_recipe
from pocketrec_training.train import train
from pocketrec_training.tuning.tune import tune

RECIPE = """
name = "split"
[data]
interactions = "i.csv"
[columns]
user = "user"
item = "item"
timestamp = "time"
timestamp_unit = "s"
[events]
types = ["rating"]
[retrieval]
dim = 8
blocks = 1
heads = 1
max_history = 6
title_buckets = 8
epochs = 1
batch = 8
[ranker]
candidates = 10
epochs = 1
deep = [4]
cross_layers = 1
cross_rank = 2
[rerank]
slate = 5
[tune.space]
"retrieval.dropout" = { low = 0.0, high = 0.6 }
"""


@pytest.fixture
def tables(tmp_path):
    """Return a function that writes a recipe and tables; `time(user, n)` of each event."""

    def write(split, time, *, users=30, events=8):
        lines = [
            f"u{u},i{(3 * u + n) % 20},{time(u, n)}" for u in range(users) for n in range(events)
        ]
        (tmp_path / "i.csv").write_text("\n".join(["user,item,time", *lines]))
        (tmp_path / "r.toml").write_text(f"{RECIPE}[split]\n{split}\n")
        recipe = load_recipe(tmp_path / "r.toml")
        build_tables(recipe, tmp_path / "data", tmp_path)
        return recipe, tmp_path / "data"

    return write


@pytest.fixture
def eagerly(uncompiled):
    """Nothing is compiled: these trainings are over before XLA would be."""
    with uncompiled():
        yield


@pytest.fixture
def in_two_folds(two_folds):
    """For trainings whose users fill any number of folds."""
    with two_folds():
        yield


def one_after_the_other(user, n):
    return user * 1000 + n


def side_by_side(user, n):
    return n * 100 + user


def in_pairs(user, n):
    return n // 2 * 100 + user


def test_global_time_on_sessions_is_refused_with_the_splits_that_work(tables, runner):
    _, data = tables('kind = "global_time"', one_after_the_other, users=100, events=5)
    out = data.parent / "run"
    words = ["train", data.parent / "r.toml", "--data", data, "--out", out]
    done = runner.invoke(main, [str(word) for word in words])
    assert done.exit_code == 1
    assert "leaves no validation case: 10 of the 100 users have the 50 validation" in done.stderr
    assert 'Use split.kind = "leave_last" (100 validation and 100 test cases)' in done.stderr
    assert not out.exists()
    assert not (data.parent / ".run.work").exists()


def test_search_refuses_what_training_would(tables):
    recipe, data = tables('kind = "global_time"', one_after_the_other, users=100, events=5)
    with pytest.raises(RunInvalidError, match="leaves no validation case"):
        tune(recipe, data, data.parent / "s.db", trials=1)
    assert not (data.parent / "s.db").exists()


@pytest.mark.parametrize(
    ("split", "time", "events", "told"),
    [
        (
            "min_user_events = 1",
            one_after_the_other,
            2,
            r"at least 3 events \(max\(split.min_user_events = 1, 3\)\); the longest history has 2",
        ),
        (
            "min_user_events = 9",
            side_by_side,
            6,
            r'"leave_last" and split.min_user_events = 3 \(30 validation and 30 test cases\)',
        ),
        (
            'kind = "last_basket"\nmin_user_events = 1',
            in_pairs,
            4,
            r"4 events in 2 baskets\. Use split.kind = \"global_time\" \(",
        ),
        (
            'kind = "global_time"',
            lambda *_: 5,
            4,
            r"no validation case: none of the 30 users has a validation event",
        ),
    ],
)
def test_refusal_has_the_real_rule_and_the_numbers(tables, split, time, events, told):
    recipe, data = tables(split, time, events=events)
    with pytest.raises(RunInvalidError, match=told):
        check_split(recipe, load_dataset(recipe, data), str(data))


def test_numbers_of_the_advice_are_those_of_the_split_it_names(tables):
    recipe, data = tables('kind = "global_time"', one_after_the_other, users=100, events=5)
    with pytest.raises(RunInvalidError) as refused:
        check_split(recipe, load_dataset(recipe, data), "d")
    recipe, data = tables('kind = "last_basket"', one_after_the_other, users=100, events=5)
    loaded = load_dataset(recipe, data)
    check_split(recipe, loaded, "d")
    counts = [len(loaded.held_out(fold)) for fold in (VALID, TEST)]
    told = f'"last_basket" ({counts[0]} validation and {counts[1]} test cases)'
    assert told in str(refused.value)


def test_no_test_is_a_wish_that_training_grants(tables, eagerly, in_two_folds):
    recipe, data = tables('kind = "global_time"\ntest_share = 0.0', side_by_side)
    loaded = load_dataset(recipe, data)
    assert not loaded.held_out(TEST)
    assert (loaded.fold == VALID).mean() == pytest.approx(0.1, abs=0.01)
    report = train(recipe=recipe, data=data, out=data.parent / "run", final=False)
    assert report.tied_last_share == {"validation": 0.0}
    with pytest.raises(RunInvalidError, match=r"no test case .*test_share = 0\).*--split valid"):
        evaluate(run=data.parent / "run", data=data, out=data.parent / "report")


def test_a_share_too_small_for_one_event_is_no_index_error(tables):
    recipe, data = tables('kind = "global_time"\ntest_share = 1e-17', side_by_side)
    with pytest.raises(
        RunInvalidError, match="leaves no test case: none of the 30 users has a test"
    ):
        check_split(recipe, load_dataset(recipe, data), "d")


def test_no_validation_is_refused_with_the_recipe():
    asked = {"name": "t", "data": {"dataset": "d"}}
    split = {"kind": "global_time", "valid_share": 0.0}
    with pytest.raises(
        RecipeInvalidError, match=r"split\.valid_share: 0 leaves no event to choose"
    ):
        parse_recipe({**asked, "split": split}, "t.toml")
    parse_recipe({**asked, "split": {"valid_share": 0.0}}, "t.toml")  # leave_last has no shares


@pytest.mark.parametrize("users", [2, 4, 6])  # of five folds some have nobody
def test_few_users_train_all_the_same(tables, eagerly, users):
    recipe, data = tables("min_user_events = 3", side_by_side, users=users)
    report = train(recipe=recipe, data=data, out=data.parent / "run", final=False)
    assert np.isfinite(report.valid_ndcg10)


def test_tied_last_events_are_counted_and_warned_of(tables, eagerly, in_two_folds, runner):
    recipe, data = tables("", lambda u, n: in_pairs(u, n) if u % 5 < 2 else side_by_side(u, n))
    loaded = load_dataset(recipe, data)
    assert tied_last_share(loaded) == {"validation": 0.0, "test": 0.4}
    words = ["train", data.parent / "r.toml", "--data", data, "--out", data.parent / "run"]
    words += ["--no-final"]
    done = runner.invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    assert "warning: " in done.stderr
    assert "40.0% of the test cases" in done.stderr
    assert 'Use split.kind = "last_basket" (30 validation and 30 test cases)' in done.stderr
    assert '"tied_last_share": {\n    "validation": 0.0,\n    "test": 0.4' in (
        data.parent / "run" / "train_report.json"
    ).read_text("utf-8")


def test_order_that_most_last_events_lack_is_refused(tables):
    recipe, data = tables("", in_pairs)
    with pytest.raises(
        RunInvalidError, match=r"100\.0% of the test cases .*\"last_basket\" \(30 va"
    ):
        check_split(recipe, load_dataset(recipe, data), "data")


def test_ties_that_no_split_in_time_avoids_leave_the_random_one(tables):
    recipe, data = tables("", lambda u, n: side_by_side(u, n) if u < 2 else u)
    told = tie_warning(recipe, load_dataset(recipe, data))
    assert "93.3% of the validation cases and 93.3% of the test cases" in told
    assert 'Use split.kind = "random" (without times, 30 validation and 30 test cases)' in told
    assert "last_basket" not in told


def test_splits_in_time_have_no_ties_to_warn_of(tables):
    for split in ("", 'kind = "last_basket"', 'kind = "global_time"'):
        time = side_by_side if not split else in_pairs
        recipe, data = tables(split, time)
        loaded = load_dataset(recipe, data)
        assert set(tied_last_share(loaded).values()) == {0.0}
        assert tie_warning(recipe, loaded) == ""


def test_few_ties_are_no_reason_to_warn(tables):
    recipe, data = tables("", lambda u, n: in_pairs(u, n) if u == 0 else side_by_side(u, n))
    loaded = load_dataset(recipe, data)
    assert tied_last_share(loaded)["test"] == pytest.approx(1 / 30)
    assert tie_warning(recipe, loaded) == ""


def test_nobody_with_two_training_events_is_refused_and_never_advised(tables):
    recipe, folder = tables('kind = "leave_last"\nmin_user_events = 3', side_by_side, events=3)
    data = load_dataset(recipe, folder)
    with pytest.raises(RunInvalidError, match="none of the 30 users two training events"):
        check_split(recipe, data, "data")
    recipe, folder = tables('kind = "leave_last"', side_by_side, events=3)
    data = load_dataset(recipe, folder)
    with pytest.raises(RunInvalidError) as refused:
        check_split(recipe, data, "data")
    assert "min_user_events = 3 (" not in str(refused.value)


def test_a_head_that_no_event_of_the_data_is_an_example_of_is_refused(tables):
    recipe, folder = tables('kind = "leave_last"', side_by_side)
    data = load_dataset(recipe, folder)
    events = dataclasses.replace(recipe.events, types=("rating", "like"), like_value=9.0)
    ranker = dataclasses.replace(recipe.ranker, heads=("engage", "like"), head_weights=(1.0, 0.5))
    both = dataclasses.replace(recipe, events=events, ranker=ranker)
    with pytest.raises(
        RunInvalidError, match=r"none of the 240 events is a like.*events\.like_value"
    ):
        check_heads(both, data, "data")
    liked = dataclasses.replace(data, events=np.ones_like(data.events))
    check_heads(both, liked, "data")
    check_heads(recipe, data, "data")
