"""The attention line: what it names, when, and that it leads to the page of the release."""

import re
import time

import pytest

from pocketrec_bundle.settings.rollout import FailureLimit
from pocketrec_server.admin.attention import FEWEST_TOLD, MOST, entries, notices
from pocketrec_server.experiments import signing
from pocketrec_server.experiments.halted_arms import halt_arm
from pocketrec_server.halting import outcomes
from pocketrec_server.repository.keys import load_signers
from pocketrec_server.repository.publish import change_policy, halt, publish, read_policy
from pocketrec_server.repository.rollout import changed, find
from pocketrec_server.storage.database import default_url, open_database


@pytest.fixture
def engine(tiny_repo):
    return open_database(default_url(tiny_repo))


@pytest.fixture
def signers(tiny_repo, tmp_path):
    return load_signers(tmp_path / "keys")


def report(engine, known, manifest, *kinds, first=0, now=None):
    told = [
        {"id": f"{first + at:032x}", "manifest": manifest, "outcome": kind}
        for at, kind in enumerate(kinds)
    ]
    outcomes.count(engine, "stable", known, told, now or time.time(), network=f"10.0.{first}.0/24")


def texts(repo, engine, now=None):
    return [(one.level, one.text) for one in entries(repo, engine, now or time.time())]


def test_a_healthy_fleet_and_an_empty_server_need_no_attention(
    tiny_repo, engine, two_releases, tmp_path
):
    report(engine, two_releases, two_releases[0], *["installed"] * 30)
    assert entries(tiny_repo, engine, time.time()) == []
    assert entries(tmp_path / "nothing", engine, time.time()) == []


def test_a_release_that_fails_is_named_with_its_share_for_a_week(tiny_repo, engine, two_releases):
    report(engine, two_releases, two_releases[0], *["installed"] * 17, "reverted", "reverted")
    assert entries(tiny_repo, engine, time.time()) == []  # too few reports
    report(engine, two_releases, two_releases[0], *["download_failed"] * 3, first=100)
    said = [("bad", f"second on stable fails: 25% of {FEWEST_TOLD} reports in 7 days")]
    assert texts(tiny_repo, engine) == said
    assert texts(tiny_repo, engine, time.time() + 6 * 86_400) == said
    assert texts(tiny_repo, engine, time.time() + 7 * 86_400) == []


def test_a_halted_arm_is_named_while_its_experiment_runs(tiny_repo, engine, signers):
    arms = [{"name": name, "share": 0.25} for name in ("control", "a", "b", "c")]
    plan = {"id": "blend", "until_utc": int(time.time()) + 86_400, "arms": arms}
    one = signing.start(tiny_repo, signers, "stable", plan)
    for arm in ("a", "b"):
        assert halt_arm(tiny_repo, signers, "stable", one, arm, "slow")
    assert texts(tiny_repo, engine) == [
        ("bad", "Arm a of blend on stable is halted: slow"),
        ("bad", "Arm b of blend on stable is halted: slow"),
    ]
    found = notices(tiny_repo, engine, time.time())
    assert [one.key for one in found] == ["halted stable blend/a bad", "halted stable blend/b bad"]
    signing.move(tiny_repo, signers, "stable", "blend", "kill")
    assert entries(tiny_repo, engine, time.time()) == []


def test_the_signed_limit_of_a_release_is_the_limit_here_too(
    tiny_repo, engine, two_releases, signers
):
    def limited(policy):
        limit = FailureLimit(of=6, share=0.3)
        return changed(policy, find(policy, two_releases[0]), most_failures=limit)

    change_policy(tiny_repo, signers, "stable", limited)
    report(engine, two_releases, two_releases[0], *["installed"] * 15, *["download_failed"] * 5)
    assert texts(tiny_repo, engine) == [
        (
            "warn",
            "second on stable: all outcomes come from one network; automatic halting needs 7 "
            "networks",
        )
    ]
    report(engine, two_releases, two_releases[0], *["download_failed"] * 5, first=100)
    levels = [level for level, _ in texts(tiny_repo, engine)]
    assert levels == ["bad", "warn"]  # 40% is more than 30%


def test_a_halt_is_named_until_it_ends_or_the_release_is_killed(
    tiny_repo, engine, two_releases, signers, alice
):
    halt(tiny_repo, signers, "stable", two_releases[0], "it crashes")
    assert texts(tiny_repo, engine) == [("bad", "second on stable is halted: it crashes")]
    for path in ("", "releases", "fleet", "history", "nothing"):
        page = alice.client.get(f"/admin/{path}").text
        (link,) = re.findall(r'<a href="([^"]*)">second on stable is halted', page)
        assert alice.client.get(link).status_code == 200
    assert "halted" not in alice.client.application.test_client().get("/admin/login").text
    alice.press("stable", "kill", two_releases[0])
    assert texts(tiny_repo, engine) == []


def test_many_entries_are_cut_with_a_count(tiny_repo, renamed_release, signers, alice):
    for n in range(MOST + 2):
        publish(renamed_release(f"r{n}"), tiny_repo, signers, "stable", percent=50)
    for stage in read_policy(tiny_repo, "stable").releases[: MOST + 2]:
        halt(tiny_repo, signers, "stable", stage.manifest, "odd slates")
    page = alice.get("history")
    assert page.count("is halted: odd slates") == MOST
    assert "2 more" in page


def test_a_damaged_repository_is_an_entry_and_no_crash(tiny_repo, engine):
    stamp = tiny_repo / "metadata" / "timestamp.json"
    stamp.write_bytes(stamp.read_bytes().replace(b'"sig":"', b'"sig":"0'))
    assert texts(tiny_repo, engine) == [("bad", "The repository or the database cannot be read")]
