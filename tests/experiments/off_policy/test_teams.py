"""Interleaved slates in exports: of this draw, within the experiment's times, by team."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

pytest.importorskip("ibis", reason="needs the train extra")

from pocketrec.cli import main
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.settings.experiment import RUNNING, Experiment
from pocketrec_bundle.settings.experiment_arms import Arm
from pocketrec_bundle.settings.experiments import Experiments
from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.analysis import Design
from pocketrec_experiments.errors import EventsInvalidError
from pocketrec_experiments.off_policy.tables import read_requests
from pocketrec_experiments.off_policy.teams import read_teams

START, SALT, EARLIER = 1_700_000_000, "5a" * 16, "0b" * 16
PLAIN = {"version": 1, "depth": 8, "rules": []}
BLEND = Experiment(
    id="e",
    hypothesis="",
    salt=SALT,
    layer="ranking",
    segment=(0.0, 1.0),
    state=RUNNING,
    from_utc=START,
    until_utc=START + 10 * DAY_S,
    arms=(Arm(name="old", share=0.5, rules=PLAIN), Arm(name="new", share=0.5, rules=PLAIN)),
    interleave=True,
)
SIGNED = Experiments(channel="stable", experiments=(BLEND,))
DESIGN = Design.of(SIGNED, "e")


class Slates:
    """Rows of interleaved slates of two items: "x" is control's, "y" the treatment's."""

    def __init__(self):
        self.rows: dict[str, list[dict]] = {
            kind: [] for kind in ("requests", "impressions", "interactions", "exposures")
        }

    def exposure(self, user, at=0, arm="interleaved", salt=SALT, forced=False):
        row = {"user_id": user, "ts": START + at, "experiment": "e", "arm": arm}
        self.rows["exposures"].append(row | {"salt": salt[:8], "forced": forced})

    def slate(self, user, at=0, likes="y"):
        name, ts = f"r{len(self.rows['requests'])}", START + at
        request = {"scene": "home", "source": "model", "page": None, "k": 2, "release": "ab"}
        request |= {"user_id": user, "request_id": name, "ts": ts}
        self.rows["requests"].append(request | {"arms": [("e", "interleaved")]})
        for place, (item, team) in enumerate((("x", "old"), ("y", "new")), 1):
            row = {"user_id": user, "request_id": name, "place": place, "item_id": item, "ts": ts}
            row |= {"propensity": 1.0, "sponsored": None, "context": json.dumps({"team": team})}
            self.rows["impressions"].append(row)
        row = {"user_id": user, "item_id": likes, "ts": ts + 1, "event": "like", "value": None}
        self.rows["interactions"].append(row | {"request_id": name})


@pytest.fixture
def slates():
    return Slates()


@pytest.fixture
def many(slates):
    """30 users, of whom 24 like the treatment's item."""
    for user in range(30):
        slates.exposure(f"u{user}")
        slates.slate(f"u{user}", likes="x" if user % 5 == 4 else "y")
    return slates


def test_interleaved_slates_are_read_by_team_and_not_evaluated_otherwise(
    many, write_tables, tmp_path
):
    folder = write_tables(tmp_path, many.rows)
    found = read_teams(folder, DESIGN)
    assert found.arms == ("old", "new") and found.requests == 30 and found.left_out == ()
    order = sorted({f"u{user}" for user in range(30)})
    assert sorted(zip(found.users, found.team, found.reward, strict=True)) == [
        (at, team, float(team == (int(name[1:]) % 5 != 4)))
        for at, name in enumerate(order)
        for team in (0, 1)
    ]
    assert read_requests(folder).left_out == {"interleaved": 30}


def test_slates_of_an_earlier_draw_do_not_count(slates, write_tables, tmp_path):
    for user in range(4):
        slates.exposure(f"u{user}", at=10, salt=EARLIER)
        slates.slate(f"u{user}", at=10, likes="x")
    slates.exposure("u0", at=100)
    slates.slate("u0", at=100)
    found = read_teams(write_tables(tmp_path, slates.rows), DESIGN)
    assert found.requests == 1 and found.reward[found.team == 1].tolist() == [1.0]
    assert found.left_out == ("3 users of an earlier draw (another salt) are left out.",)


def test_slates_and_rewards_outside_the_times_do_not_count(slates, write_tables, tmp_path):
    slates.exposure("u0", at=0)
    slates.slate("u0", at=0)
    slates.slate("u0", at=11 * DAY_S, likes="x")  # after the planned end
    slates.slate("u1", at=-DAY_S, likes="x")
    slates.exposure("u1", at=-DAY_S)
    slates.slate("u2", at=0)  # was never exposed
    folder = write_tables(tmp_path, slates.rows)
    found = read_teams(folder, DESIGN)
    assert found.requests == 1 and found.reward.sum() == 1
    assert found.left_out == (
        "1 users whose exposure is outside the experiment's times are left out.",
    )
    ended = replace(DESIGN, ended_utc=START + 1)  # the like came a second later
    assert read_teams(folder, ended).reward.sum() == 0


def test_forced_devices_do_not_count(many, write_tables, tmp_path):
    many.exposure("u7", forced=True)
    found = read_teams(write_tables(tmp_path, many.rows), DESIGN)
    assert found.requests == 29 and found.left_out[0].startswith("1 users with a forced arm")


def test_an_export_without_both_teams_is_refused(many, write_tables, tmp_path):
    many.rows["impressions"] = [row for row in many.rows["impressions"] if row["item_id"] == "x"]
    with pytest.raises(InputError, match=r"experiment e: interleaved .* 1 arms \(old\)"):
        read_teams(write_tables(tmp_path / "one", many.rows), DESIGN)
    with pytest.raises(EventsInvalidError, match="no exposures"):
        read_teams(write_tables(tmp_path / "two", many.rows | {"exposures": []}), DESIGN)


@pytest.fixture
def words(many, write_tables, tmp_path):
    (tmp_path / "experiments.json").write_bytes(SIGNED.to_bytes())
    folder = write_tables(tmp_path, many.rows)
    signed = ["--experiments", str(tmp_path / "experiments.json")]
    return ["experiment", "interleaving", "e", "--events", str(folder), *signed]


def test_the_command_names_the_preferred_arm(words):
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert done.output.startswith("users prefer new\n") and "prefer old: 6 users" in done.output
    found = json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout)
    assert found["wins"] == [6, 24] and found["arms"] == ["old", "new"]
    assert found["share"]["low"] < 0.8 < found["share"]["high"] and found["left_out"] == []
    done = CliRunner().invoke(main, [*words, "--reward", "buy"])
    assert done.exit_code == 2 and "no event buy" in done.output


def test_the_command_refuses_other_experiments(words, tmp_path):
    done = CliRunner().invoke(main, words[:-2])
    assert done.exit_code == 2 and "one of --experiments and --repo" in done.output
    done = CliRunner().invoke(main, [*words[:2], "other", *words[3:]])
    assert done.exit_code == 2 and "no experiment 'other'" in done.output
    split = replace(SIGNED, experiments=(replace(BLEND, interleave=False),))
    (tmp_path / "experiments.json").write_bytes(split.to_bytes())
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2 and "experiment report" in done.output


def test_a_report_of_an_interleaved_experiment_names_the_other_command(words):
    done = CliRunner().invoke(main, ["experiment", "report", *words[2:]])
    assert done.exit_code == 2 and "experiment interleaving" in done.output
