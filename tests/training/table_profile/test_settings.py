"""The settings that a recipe gets depend on the span, the size and the split of the data."""

from dataclasses import replace

import pytest

from pocketrec_training.table_profile.facts import EventFacts
from pocketrec_training.table_profile.profile import profile_files
from pocketrec_training.table_profile.proposal import propose

T0, DAY = 1_600_000_000, 86_400
FACTS = EventFacts(
    n=3000,
    n_users=300,
    n_items=500,
    users_by_events={"1": 0, "2-4": 0, "5-19": 300, "20+": 0},
    first_ts=T0,
    last_ts=T0 + 100 * DAY,
    implausible_times=0,
    unreadable_times=0,
    tied_last_share=0.0,
    cases={"leave_last": 300, "last_basket": 300, "global_time": 100},
    one_time=False,
    repeat_share=0.0,
    length_90=10,
)


@pytest.fixture
def settings(tmp_path):
    """Return a function: the settings for facts that differ from `FACTS` in these."""
    log = tmp_path / "log.csv"
    log.write_text("user,item,ts\n" + "".join(f"u{n},i{n % 3},{T0 + n}\n" for n in range(9)))
    table = profile_files([log]).log

    def of(*, has_time: bool = True, **changes) -> dict[str, object]:
        proposal = propose(table, replace(FACTS, **changes), has_time=has_time)
        return {each.key: each.value for each in proposal.settings}

    return of


def test_neighbours_and_the_start_of_the_ranker_are_chosen_on_validation(settings):
    found = settings()
    assert found["neighbours.kind"] == "auto"
    assert found["neighbours.per_item"] == 128
    assert settings(n_items=5_001)["neighbours.per_item"] == 64
    assert found["ranker.blend"] is True


@pytest.mark.parametrize(
    ("rows", "epochs", "fast"), [(100_000, 30, False), (500_000, 16, True), (9_000_000, 4, True)]
)
def test_many_events_get_few_epochs_of_larger_averaged_steps(tmp_path, rows, epochs, fast):
    log = tmp_path / "log.csv"
    log.write_text("user,item,ts\n" + "".join(f"u{n},i{n % 3},{T0 + n}\n" for n in range(9)))
    table = profile_files([log]).log
    table = replace(table, sample=replace(table.sample, n_rows=rows))
    found = {each.key: each.value for each in propose(table, FACTS, has_time=True).settings}
    assert found["retrieval.epochs"] == epochs
    assert found["retrieval.batch"] == 64
    assert ("retrieval.learning_rate" in found, "retrieval.average" in found) == (fast, fast)


def test_a_small_catalogue_has_at_most_all_its_other_items_as_neighbours(settings):
    assert settings(n_items=10)["neighbours.per_item"] == 9


def test_a_catalogue_too_large_for_the_fit_has_no_neighbours(settings):
    found = settings(n_items=20_001)
    assert "neighbours.kind" not in found
    assert found["ranker.blend"] is True


@pytest.mark.parametrize(
    ("days", "half_lives"), [(100, [30, 7]), (60, [30, 7]), (59, [7, 1]), (7, [7, 1]), (6, None)]
)
def test_popularity_fades_faster_in_data_of_fewer_days(settings, days, half_lives):
    assert settings(last_ts=T0 + days * DAY).get("ranker.popularity_days") == half_lives


def test_popularity_does_not_fade_without_usable_times(settings):
    assert "ranker.popularity_days" not in settings(has_time=False)
    tied = {"tied_last_share": 1.0, "cases": {"last_basket": 0, "global_time": 0, "leave_last": 9}}
    assert "ranker.popularity_days" not in settings(**tied)


def test_repeats_are_shown_where_people_repeat(settings):
    assert settings(repeat_share=0.3)["rerank.repeats"] is True
    assert "rerank.repeats" not in settings(repeat_share=0.05)
