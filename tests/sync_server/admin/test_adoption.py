"""Adoption by version: shares of reporting devices by day, from outcomes that name no device."""

import html
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketrec_server.admin.adoption import adoption, plots
from pocketrec_server.halting import outcomes
from pocketrec_server.storage.database import default_url, open_database

DAY_S = 86_400


def test_shares_of_a_rollout_by_hand():
    """Ten devices have `old`; four move on day 2, one of them returns on day 3, two more on 4."""
    net = {"old": {1: 10}, "new": {2: 4, 3: -1, 4: 2}}
    found = adoption(net, ["new", "old"], [0, 1, 2, 3, 4])
    assert found.devices == [0, 10, 10, 10, 10]
    assert found.shares == {"new": [0, 0, 0.4, 0.3, 0.5], "old": [0, 1, 0.6, 0.7, 0.5]}


def test_releases_that_nobody_has_are_left_out_and_earlier_days_count():
    found = adoption({"old": {1: 3}, "bad": {7: 1, 8: -1}}, ["bad", "new", "old"], [8, 9])
    assert found.shares == {"old": [1.0, 1.0]}


@given(
    st.dictionaries(
        st.sampled_from("abcd"),
        st.dictionaries(st.integers(0, 9), st.integers(-5, 50), max_size=5),
    )
)
def test_shares_of_a_day_sum_to_one_or_nobody_reported(net):
    found = adoption(net, list("abcd"), range(10))
    for day, devices in enumerate(found.devices):
        total = sum(values[day] for values in found.shares.values())
        assert total == pytest.approx(1 if devices else 0)


def test_the_page_has_a_plot_and_the_same_figures_as_a_table(alice, tiny_repo, two_releases):
    engine = open_database(default_url(tiny_repo))

    def report(manifest, n, days_ago):
        told = [
            {"id": f"{days_ago * 100 + at:032x}", "manifest": manifest, "outcome": "installed"}
            for at in range(n)
        ]
        now = time.time() - days_ago * DAY_S
        outcomes.count(engine, "stable", two_releases, told, now, network="192.0.2.0/24")

    report(two_releases[1], 40, 5)
    report(two_releases[0], 10, 2)
    page = alice.get("fleet?days=7")
    (table,) = re.findall(r'aria-label="Adoption on stable.*?</table>', page, re.DOTALL)
    cells = [re.sub(r"<[^>]+>|\s+", " ", row).split() for row in re.findall("<tr>.*?</tr>", table)]
    assert cells[0] == ["Day", "Reporting", "devices", "second", "tiny"]
    shares = [row[-3:] for row in cells[1:]]
    assert shares == [["40", "25%", "75%"]] * 3 + [["40", "0%", "100%"]] * 3 + [["0", "0%", "0%"]]
    svg = html.unescape(page[page.index("<svg") : page.index("</svg>")])
    assert svg.count(": tiny 75%, second 25%</title>") == 3
    assert svg.count(": tiny 100%</title>") == 3
    assert plots(tiny_repo, engine, range(5)) == []


def test_many_releases_are_ten_columns_and_one_for_the_older_ones(alice, tiny_repo, two_releases):
    engine = open_database(default_url(tiny_repo))
    known = [f"{at:064x}" for at in range(14)]
    told = [{"id": f"{at:032x}", "manifest": known[at], "outcome": "installed"} for at in range(14)]
    for at, one in enumerate(told):
        more = [one | {"id": f"{at:016x}{n:016x}"} for n in range(14 - at)]
        now = time.time() - (14 - at) * DAY_S
        outcomes.count(engine, "stable", known, more, now, network=f"10.0.{at}.0/24")
    (one,) = plots(
        tiny_repo, engine, range(int(time.time()) // DAY_S - 3, int(time.time()) // DAY_S)
    )
    assert len(one["names"]) == 11 and one["names"][-1] == "older"
    assert {len(row[2]) for row in one["rows"]} == {11}
    assert one["rows"][0][2][-1] == "28.6%"  # of 14 devices, 4 stayed with the 4 oldest releases
