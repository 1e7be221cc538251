"""Split, events and sizes follow from the counted facts."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pocketrec_training.table_profile.facts import EventFacts
from pocketrec_training.table_profile.proposal import like_value, propose_split

FACTS = EventFacts(
    n=5000,
    n_users=400,
    n_items=90,
    users_by_events={"1": 0, "2-4": 0, "5-19": 400, "20+": 0},
    first_ts=1_600_000_000,
    last_ts=1_700_000_000,
    implausible_times=0,
    unreadable_times=0,
    tied_last_share=0.0,
    cases={"leave_last": 400, "last_basket": 380, "global_time": 90},
    one_time=False,
    repeat_share=0.0,
    length_90=15,
)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, "leave_last"),
        ({"tied_last_share": 0.9}, "last_basket"),
        (
            {
                "tied_last_share": 0.9,
                "cases": {"leave_last": 400, "last_basket": 2, "global_time": 90},
            },
            "global_time",
        ),
        (
            {
                "tied_last_share": 0.9,
                "cases": {"leave_last": 400, "last_basket": 2, "global_time": 7},
            },
            "random",
        ),
        ({"one_time": True}, "random"),
    ],
)
def test_the_split_fits_ties_and_cases(changes, kind):
    assert propose_split(replace(FACTS, **changes), has_time=True).value == kind


def test_without_time_the_split_is_random():
    assert propose_split(FACTS, has_time=False).value == "random"


@pytest.mark.parametrize(
    ("high", "like"), [(5.0, 4.0), (4.5, 4.0), (10.0, 8.0), (100.0, 80.0), (1.0, 1.0)]
)
def test_likes_begin_at_four_fifths_of_the_scale(high, like):
    assert like_value(cast(Any, SimpleNamespace(high=high))) == like
