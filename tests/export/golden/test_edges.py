"""Which edge cases a release gets, and what it says of those that it cannot show."""

import numpy as np
import pytest

from pocketrec_bundle.golden.edges import GoldenEdges
from pocketrec_bundle.reader import open_bundle
from pocketrec_export.golden.edges import edges


@pytest.fixture(scope="module")
def tiny(tiny_release):
    return open_bundle(tiny_release)


@pytest.fixture(scope="module")
def made(tiny) -> GoldenEdges:
    found = GoldenEdges.of(tiny)
    assert found is not None
    return found


def history(made, part: str):
    return next(case for case in made.histories if part in case.name)


def context(tiny, case, name: str) -> float:
    return case.context[tiny.spec.context.index(name)]


def test_a_release_with_everything_lacks_no_case(made):
    assert made.unmade == ()


def test_a_release_says_which_cases_it_cannot_show(small_release):
    found = GoldenEdges.of(open_bundle(small_release))
    assert found is not None
    told = "; ".join(found.unmade)
    for part in ("unknown numbers", "beyond ASCII", "no neighbours"):
        assert part in told


def test_equal_releases_have_equal_cases(tiny, made):
    assert edges(tiny).to_json() == made.to_json()


def test_a_history_has_what_its_name_says(tiny, made):
    length = tiny.spec.max_history
    for n in (length, length + 1):
        case = history(made, f"{n} events, of which {length}")
        assert len(case.item_ids) == n and len(case.history_rows) == length
        assert case.history_rows == tuple(map(tiny.row_of, case.item_ids[-length:]))
    future = history(made, "all events in the future")
    assert min(future.ts) > future.now_utc and set(future.history_ages_s) == {0.0}
    unknown = history(made, "among others")
    assert len(unknown.history_rows) == 3 < len(unknown.item_ids)
    assert history(made, "only ids that the release does not have").history_rows == ()
    gone = history(made, "withdrawn")
    assert not tiny.available[np.array(gone.history_rows)].all()
    assert any(not one.isascii() for one in history(made, "beyond ASCII").item_ids)


@pytest.mark.parametrize(
    ("part", "depth"),
    [
        ("a pause of 1800 s ends no session", 2.0),
        ("a pause of 1801 s ends", 1.0),
        ("1801 s ago", 0.0),
        ("all events in one second", 3.0),
    ],
)
def test_a_session_ends_after_more_than_half_an_hour(tiny, made, part, depth):
    assert context(tiny, history(made, part), "session_depth") == depth


@pytest.mark.parametrize(
    ("part", "hour", "weekday"),
    [("before 1970", 23.0, 2.0), ("Sunday at 23:59:59", 23.0, 6.0), ("Monday at 0:00", 0.0, 0.0)],
)
def test_hours_and_weekdays_turn_at_midnight_utc(tiny, made, part, hour, weekday):
    case = history(made, part)
    assert context(tiny, case, "hour") == hour and context(tiny, case, "weekday") == weekday


def test_numbers_below_zero_are_unknown_and_zero_is_not(tiny, made):
    unknown = history(made, "popularity is unknown")
    assert context(tiny, unknown, "recent_popularity") == -1.0
    mixed = history(made, "known, unknown and 0")
    rows = np.array(mixed.history_rows[-tiny.spec.recent :])
    column = tiny.numeric[rows][:, tiny.spec.numeric.index("popularity")]
    assert (column < 0).any() and (column == 0).any() and (column > 0).any()
    expected = float(column[column >= 0].mean())
    assert context(tiny, mixed, "recent_popularity") == pytest.approx(expected)


def test_what_a_search_must_not_give_is_what_it_would_give(tiny, made):
    found = {case.name: case for case in made.searches}
    gone = found["the nearest item is withdrawn"]
    assert not tiny.available[gone.user_row] and gone.user_row not in gone.candidates
    pages = found["what earlier pages showed"]
    assert pages.shown and not set(pages.shown) & set(pages.candidates)
    scenes = {case.scene for case in made.searches}
    assert scenes == {"home", "similar", "after", "search"}
    filters = [case.filters for case in made.searches if case.filters]
    for key in ("ranges", "any_of", "none_of", "region", "max_age_rating", "unrated"):
        assert any(each[key] for each in filters), key
