"""Cohorts by app version and device class: which release each one gets, as the device decides."""

import pytest

from pocketrec_bundle.settings.rollout import PAUSED, AppVersions, RolloutPolicy, Stage
from pocketrec_server.admin.cohorts import ALL, ANY, OTHER, cohorts
from pocketrec_server.repository.keys import load_signers
from pocketrec_server.repository.publish import change_policy
from pocketrec_server.repository.rollout import changed

NOW = 1_800_000_000


def stage(name, percent=100.0, **more):
    return Stage(manifest=f"{ord(name[0]):064x}", name=name, percent=percent, **more)


def table(*stages, halted=()):
    found = cohorts(RolloutPolicy(channel="stable", releases=stages), halted, NOW)
    return [
        (
            one.device_class,
            one.app,
            [(each.name, pytest.approx(share)) for each, share in one.gets],
            pytest.approx(one.nothing),
        )
        for one in found
    ]


def test_a_policy_without_restrictions_has_one_cohort():
    assert table(stage("new", 20), stage("old")) == [(ALL, ANY, [("new", 0.2), ("old", 0.8)], 0)]


def test_versions_and_classes_split_the_devices():
    new = stage("new", 40, app=AppVersions(least="2.0", below="10"))
    tablet = stage("tablet", 50, device_classes=("tab",))
    assert table(new, tablet, stage("old", 90)) == [
        ("tab", "before 2.0", [("tablet", 0.5), ("old", 0.45)], 0.05),
        ("tab", "2.0 to before 10", [("new", 0.4), ("tablet", 0.3), ("old", 0.27)], 0.03),
        ("tab", "10 and later", [("tablet", 0.5), ("old", 0.45)], 0.05),
        (OTHER, "before 2.0", [("old", 0.9)], 0.1),
        (OTHER, "2.0 to before 10", [("new", 0.4), ("old", 0.54)], 0.06),
        (OTHER, "10 and later", [("old", 0.9)], 0.1),
    ]


def test_closed_releases_split_nothing_and_equal_versions_are_one():
    old = stage("old", app=AppVersions(least="1.0"))
    closed = [
        stage("paused", state=PAUSED, device_classes=("tab",)),
        stage("later", from_utc=NOW + 1, app=AppVersions(least="7")),
        stage("halted", app=AppVersions(least="8")),
    ]
    other = stage("base", app=AppVersions(below="1"))
    rows = table(*closed, old, other, halted={closed[2].manifest})
    assert [row[2] for row in rows] == [[("base", 1)], [("old", 1)]]
    assert {row[0] for row in rows} == {ALL}
    assert rows[0][1].removesuffix(".0") == "before 1"


def test_the_fleet_lists_the_cohorts_of_restricted_channels_only(
    alice, tiny_repo, two_releases, tmp_path
):
    assert "Cohorts on" not in alice.get("fleet")

    def restricted(policy):
        return changed(
            policy, policy.releases[0], device_classes=("legacy",), app=AppVersions(least="3.1")
        )

    change_policy(tiny_repo, load_signers(tmp_path / "keys"), "stable", restricted)
    page = alice.get("fleet")
    assert "<tr><td>legacy</td><td>3.1 and later</td>" in page
    assert "second (20%), tiny (80%)" in page and "Cohorts on beta" not in page
