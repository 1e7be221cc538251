import hashlib
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from pocketrec_bundle.settings.rollout import FailureLimit
from pocketrec_server.admin.operations import Action, Operations
from pocketrec_server.app import create_app
from pocketrec_server.auth import audit, tokens
from pocketrec_server.halting import outcomes
from pocketrec_server.halting.circuit_breaker import what_lacks, why_halt
from pocketrec_server.halting.networks import JUDGED, MOST_A_DAY, recent
from pocketrec_server.halting.outcomes import (
    KINDS,
    MAX_BATCH,
    MAX_BODY_BYTES,
    SEEN_DAYS,
    Health,
    healths,
)
from pocketrec_server.repository import state
from pocketrec_server.repository.keys import load_signers
from pocketrec_server.repository.publish import change_policy, halt, read_halts, read_policy, unhalt
from pocketrec_server.settings import Settings
from pocketrec_server.storage.database import default_url, open_database
from pocketrec_server.storage.tables import (
    OUTCOME_KEY,
    OUTCOME_NETWORK,
    OUTCOME_QUOTA,
    OUTCOME_SEEN,
)

A, B = "0a" * 32, "0b" * 32
DAY_S = 86_400
NOW = 20_000 * DAY_S
NETWORK = "192.0.2.0/24"


def count(engine, channel, known, rows, now, network=NETWORK):
    return outcomes.count(engine, channel, known, rows, now, network=network)


def told(n: int, manifest: str = A, outcome: str = "installed") -> dict[str, str]:
    return {"id": f"{n:032x}", "manifest": manifest, "outcome": outcome}


def test_outcomes_add_up_by_release_and_kind_over_days_and_channels_apart(engine):
    first = [told(1), told(2), told(3, outcome="reverted"), told(4, B, "self_test_failed")]
    found = count(engine, "stable", {A, B}, first, NOW)
    assert (found.ids, found.rejected) == ([row["id"] for row in first], [])
    assert found.new == 4
    assert count(engine, "stable", {A, B}, [told(5)], NOW + DAY_S).new == 1
    count(engine, "beta", {A}, [told(6, outcome="download_failed")], NOW)
    assert healths(engine, "stable") == {
        A: Health(installed=3, reverted=1),
        B: Health(self_test_failed=1),
    }
    assert healths(engine, "beta") == {A: Health(download_failed=1)}


def test_an_outcome_that_comes_again_is_acknowledged_and_counted_once(engine):
    for _ in range(2):
        found = count(engine, "stable", {A}, [told(1, outcome="reverted"), told(2)], NOW)
        assert len(found.ids) == 2
    assert found.new == 0
    twice = count(engine, "stable", {A}, [told(3), told(3)], NOW)
    assert twice.ids == [told(3)["id"]]
    assert healths(engine, "stable") == {A: Health(installed=2, reverted=1)}


def test_devices_that_tell_at_once_are_all_counted(engine):
    """Both kinds of outcome in either order: writers that hold a row each would never end."""
    rows = [[told(n, A, KINDS[n % 2]), told(n + 500, B, KINDS[1 - n % 2])] for n in range(60)]
    batches = [pair[:: 1 - 2 * (n % 2)] for n, pair in enumerate(rows)]

    def send(n):
        return count(engine, "stable", {A, B}, batches[n], NOW, f"10.0.{n % 7}.0/24")

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(send, range(60)))
    assert sum(each.new for each in found) == 120
    assert healths(engine, "stable") == {
        A: Health(installed=30, self_test_failed=30),
        B: Health(installed=30, self_test_failed=30),
    }
    assert [len(recent(engine, "stable", manifest, 99)) for manifest in (A, B)] == [7, 7]
    assert sum(sums["installed"] for sums in recent(engine, "stable", A, 99)) == 30


def test_ids_are_forgotten_after_a_while_and_counts_are_not(engine):
    count(engine, "stable", {A}, [told(1)], NOW)
    count(engine, "stable", {A}, [told(2)], NOW + (SEEN_DAYS + 1) * DAY_S)
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(OUTCOME_SEEN)) == 1
    assert healths(engine, "stable") == {A: Health(installed=2)}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (1, "not an object"),
        ({**told(1), "id": "x"}, "id must be 32 hex digits"),
        ({**told(1), "id": 7}, "id must be 32 hex digits"),
        ({**told(1), "manifest": "x"}, "manifest must be 64 hex digits"),
        (told(1, B), "the channel has no such release"),
        (told(1, A, "fine"), f"outcome must be one of {', '.join(KINDS)}"),
    ],
)
def test_an_outcome_that_is_not_well_formed_is_returned_with_its_reason(engine, row, reason):
    found = count(engine, "stable", {A}, [row, told(2)], NOW)
    assert found.ids == [told(2)["id"]]
    assert [each["reason"] for each in found.rejected] == [reason]


FINE, FAILED = {"installed": 1}, {"self_test_failed": 1}


def networks(*each):
    """Networks as (how many, what each of them reported)."""
    return [Health(**reported) for n, reported in each for _ in range(n)]


@pytest.mark.parametrize(
    ("limit", "reported", "halts"),
    [
        (None, [(1000, FAILED)], False),
        ((100, 0.05), [(93, FINE), (7, FAILED)], False),  # 100 networks; 101 are needed
        ((100, 0.05), [(95, FINE), (6, FAILED)], False),  # without one: 5% are not more than 5%
        ((100, 0.05), [(94, FINE), (7, FAILED)], True),
        ((100, 0.05), [(101, {"installed": 9, "reverted": 1})], True),
        ((100, 0.05), [(101, {"installed": 99, "reverted": 1})], False),
        ((100, 0.05), [(94, FINE), (7, {"installed": 1, "reverted": 1})], True),  # it had it before
        ((100, 0.05), [(94, FINE), (7, {"reverted": 1})], True),  # and reported it on another day
        ((100, 0.05), [(94, FINE), (7, {"app_too_old": 9})], False),  # 94 networks tried it
        ((1, 0), [(6, FINE)], False),
        ((1, 0), [(3, FINE), (3, FAILED)], False),  # two networks and the one left out
        ((1, 0), [(2, FINE), (4, FAILED)], True),
        ((1, 0), [(5, FAILED)], False),  # fewer networks than ever judge
        ((1, 1), [(99, FAILED)], False),
        ((10**9, 0.05), [(5001, FAILED)], True),
    ],
)
def test_a_release_is_halted_beyond_its_limit_and_not_before(limit, reported, halts):
    found = why_halt(limit and FailureLimit(of=limit[0], share=limit[1]), networks(*reported))
    assert (found is not None) == halts


def test_one_network_counts_once_whatever_it_reports():
    limit, many = FailureLimit(of=100, share=0.05), 10**6
    sound = networks((96, FINE), (5, FAILED))  # 4% without the network that failed most
    assert why_halt(limit, [*sound, Health(self_test_failed=many)]) is None
    bad = networks((85, FINE), (16, FAILED))
    assert why_halt(limit, [*bad, Health(installed=many)])


def test_the_reason_says_how_many_and_how():
    reported = networks((7, FINE), (2, FAILED), (2, {"installed": 1, "reverted": 1}))
    found = why_halt(FailureLimit(of=10, share=0.1), reported)
    assert found == "30% of devices failed, the mean of 10 networks (self-test 2, reverted 2)"


def test_an_operator_learns_what_an_automatic_halt_lacks():
    limit = FailureLimit(of=10, share=0.1)
    one = what_lacks(limit, 1)
    assert one is not None and one.startswith(
        "all outcomes come from one network; automatic halting needs 11 networks"
    )
    assert "--behind-proxy" in one
    assert what_lacks(limit, 3) == "outcomes come from 3 networks; automatic halting needs 11"
    assert what_lacks(limit, 11) is None
    assert what_lacks(None, 1) is None


def test_a_network_is_one_however_many_hours_it_reports_in(engine):
    for hour in range(3):
        rows = [told(hour), told(10 + hour, outcome="reverted")]
        count(engine, "stable", {A}, rows, NOW + 3600 * hour)
    count(engine, "stable", {A}, [told(20)], NOW, network="192.0.3.0/24")
    found = [Health(**sums) for sums in recent(engine, "stable", A, 9)]
    assert sorted(found, key=lambda health: health.told) == [
        Health(installed=1),
        Health(installed=3, reverted=3),
    ]
    assert recent(engine, "beta", A, 9) == recent(engine, "stable", B, 9) == []


def test_what_was_reported_before_does_not_dilute_a_failure(engine):
    """Judged are as many of the last hours as have enough networks, and not those before."""
    for n in range(60):
        count(engine, "stable", {A}, [told(n)], NOW, network=f"10.0.{n}.0/24")
    for n in range(60, 72):
        at = NOW + 3600 * (5 + n % 2)
        count(engine, "stable", {A}, [told(n, A, "reverted")], at, network=f"10.0.{n}.0/24")
    found = [Health(**sums) for sums in recent(engine, "stable", A, 11)]
    assert found == [Health(reverted=1)] * 12
    assert len(recent(engine, "stable", A, 13)) == 72


def test_no_network_is_stored_and_its_hash_differs_from_release_to_release(engine):
    count(engine, "stable", {A, B}, [told(1), told(2, B)], NOW)
    with engine.connect() as connection:
        tags = connection.execute(select(OUTCOME_NETWORK.c.network)).scalars().all()
        tags += connection.execute(select(OUTCOME_QUOTA.c.network)).scalars().all()
    assert len(set(tags)) == 3
    assert all(re.fullmatch("[0-9a-f]{32}", tag) for tag in tags)
    plain = {hashlib.sha256(text.encode()).hexdigest()[:32] for text in (NETWORK, "192.0.2.0")}
    assert not plain & set(tags)


def test_hashes_of_networks_and_their_keys_are_forgotten_after_four_weeks(engine):
    def keys():
        with engine.connect() as connection:
            found = connection.execute(select(OUTCOME_KEY.c.manifest, OUTCOME_KEY.c.key))
            return dict(found.all())

    count(engine, "stable", {A}, [told(1)], NOW)
    first = keys()
    count(engine, "stable", {A}, [told(2)], NOW + 27 * DAY_S)
    second = keys()
    assert second[A] == first[A]
    assert second[""] != first[""]  # of the quota: a day
    assert recent(engine, "stable", A, 9) == [{**dict.fromkeys(JUDGED, 0), "installed": 2}]
    count(engine, "stable", {B}, [told(3, B)], NOW + 28 * DAY_S)  # of whatever release
    assert A not in keys()
    assert recent(engine, "stable", A, 9) == []
    assert healths(engine, "stable")[A] == Health(installed=2)


def test_a_network_that_has_reported_enough_for_today_fills_no_table(engine):
    rows = [told(n) for n in range(MOST_A_DAY - 1)]
    for at in range(0, len(rows), 100):
        count(engine, "stable", {A}, rows[at : at + 100], NOW)
    found = count(engine, "beta", {A, B}, [rows[0], told(5000, B), told(5001, B)], NOW)
    assert found.ids == [rows[0]["id"], told(5000)["id"]]  # one that comes again takes nothing
    (over,) = found.rejected
    assert over["id"] == told(5001)["id"]
    assert f"more than {MOST_A_DAY} outcomes from this network today" == over["reason"]
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(OUTCOME_SEEN)) == MOST_A_DAY
    assert count(engine, "beta", {B}, [told(5001, B)], NOW + DAY_S).new == 1
    assert count(engine, "beta", {B}, [told(5002, B)], NOW, network="192.0.3.0/24").new == 1


def test_networks_recorded_in_an_hour_are_bounded(engine, monkeypatch):
    monkeypatch.setattr("pocketrec_server.halting.networks.MOST_NETWORKS", 3)
    found = [
        count(engine, "stable", {A}, [told(n)], NOW, network=f"10.0.{n}.0/24") for n in range(5)
    ]
    assert [bool(each.to_judge) for each in found] == [True] * 3 + [False] * 2
    assert len(recent(engine, "stable", A, 9)) == 3
    again = count(engine, "stable", {A}, [told(9)], NOW, network="10.0.0.0/24")
    assert again.to_judge == {A}
    assert count(engine, "stable", {A}, [told(7)], NOW + 3600, network="10.0.7.0/24").to_judge
    assert healths(engine, "stable") == {A: Health(installed=7)}


def test_an_app_that_is_too_old_is_shown_and_neither_a_success_nor_a_failure(engine):
    found = count(engine, "stable", {A}, [told(n, A, "app_too_old") for n in range(9)], NOW)
    assert (found.new, found.to_judge) == (9, frozenset())
    assert healths(engine, "stable") == {A: Health(app_too_old=9)}
    assert (Health(app_too_old=9).told, Health(app_too_old=9).failed) == (0, 0)
    assert recent(engine, "stable", A, 9) == []


@pytest.fixture
def client(tiny_repo, tmp_path):
    """A client of the app with the keys of the brake; its release may fail in 1 of 4 networks."""
    repo, signers = tiny_repo, load_signers(tmp_path / "keys")

    def limited(policy):
        (stage,) = policy.releases
        return replace(
            policy, releases=(replace(stage, most_failures=FailureLimit(of=8, share=0.25)),)
        )

    change_policy(repo, signers, "stable", limited)
    online = tmp_path / "online"
    online.mkdir()
    for name in ("brake", "snapshot", "timestamp"):
        (online / f"{name}.pem").write_bytes((tmp_path / "keys" / f"{name}.pem").read_bytes())
    return create_app(Settings(repo=repo, keys=online, log_requests=False)).test_client()


def post(client, rows, network=0, **changes):
    """Send outcomes from an address of one of 256 networks."""
    body = {"consent": True, "channel": "stable", "outcomes": rows} | changes
    return client.post(
        "/v1/outcomes",
        data=json.dumps(body),
        content_type="application/json",
        environ_base={"REMOTE_ADDR": f"10.0.{network}.7"},
    )


def post_each(client, manifest, kinds, begin=0):
    """Send one outcome each from networks of their own."""
    for n, kind in enumerate(kinds, begin):
        assert post(client, [told(n, manifest, kind)], n).status_code == 200


OK, BAD, LEFT = "installed", "self_test_failed", "reverted"


def test_the_server_halts_by_the_brake_alone_what_fails_too_often(tiny_repo, client):
    repo = tiny_repo
    manifest = read_policy(repo, "stable").releases[0].manifest
    post_each(client, manifest, [OK] * 5 + [BAD] * 3)
    assert read_halts(repo, "stable").halted == ()
    post_each(client, manifest, [LEFT], begin=8)
    reason = "38% of devices failed, the mean of 8 networks (self-test 3, reverted 1)"
    assert read_halts(repo, "stable").reason(manifest) == reason
    assert b'pocketrec_halts_total{channel="stable"} 1.0' in client.get("/metrics").data
    (entry,) = audit.entries(open_database(default_url(repo)), 9)
    assert (entry.actor, entry.action, entry.outcome) == ("server", "halt", "done")
    assert entry.details == {"reason": reason}
    post_each(client, manifest, [LEFT], begin=9)
    assert len(read_halts(repo, "stable").halted) == 1


def test_devices_that_tell_of_success_may_bring_the_count_to_which_failures_are_too_many(
    tiny_repo, client
):
    repo = tiny_repo
    manifest = read_policy(repo, "stable").releases[0].manifest
    post_each(client, manifest, [BAD] * 4 + [OK] * 4)
    assert read_halts(repo, "stable").halted == ()
    post_each(client, manifest, [OK], begin=8)
    assert len(read_halts(repo, "stable").halted) == 1


def test_a_release_that_a_person_lets_go_on_is_judged_by_what_comes_then(
    tiny_repo, client, tmp_path
):
    repo = tiny_repo
    manifest = read_policy(repo, "stable").releases[0].manifest
    online = load_signers(tmp_path / "online")
    post_each(client, manifest, [BAD] * 9)
    assert unhalt(repo, online, "stable", manifest)
    post_each(client, manifest, [BAD] * 8, begin=9)
    assert read_halts(repo, "stable").halted == ()  # eight networks reported since then
    post_each(client, manifest, [BAD], begin=17)
    reason = "100% of devices failed, the mean of 8 networks (self-test 9)"
    assert read_halts(repo, "stable").reason(manifest) == reason


def test_a_release_that_is_halted_by_hand_is_judged_by_what_comes_then(tiny_repo, client, tmp_path):
    engine = open_database(default_url(tiny_repo))
    manifest = read_policy(tiny_repo, "stable").releases[0].manifest
    post_each(client, manifest, [BAD] * 4)
    operations = Operations(tiny_repo, engine, load_signers(tmp_path / "online"))
    token = tokens.make(engine, "alice", "operate", 1, int(time.time()))[1]

    def act(action):
        operations.do(token, Action(action=action, channel="stable", manifest=manifest))

    act("halt")
    post_each(client, manifest, [OK] * 3, begin=4)
    act("unhalt")
    post_each(client, manifest, [OK] * 5 + [BAD], begin=7)  # 5 of 13, but 1 of 9 since the halt
    assert read_halts(tiny_repo, "stable").halted == ()


def test_the_site_lifts_a_halt_of_the_command_line_for_what_comes_then(tiny_repo, client, tmp_path):
    engine = open_database(default_url(tiny_repo))
    manifest = read_policy(tiny_repo, "stable").releases[0].manifest
    online = load_signers(tmp_path / "online")
    post_each(client, manifest, [BAD] * 4)
    halt(tiny_repo, online, "stable", manifest, "odd slates")
    post_each(client, manifest, [BAD] * 9, begin=4)
    token = tokens.make(engine, "alice", "operate", 1, int(time.time()))[1]
    wanted = Action(action="unhalt", channel="stable", manifest=manifest)
    Operations(tiny_repo, engine, online).do(token, wanted)
    post_each(client, manifest, [OK] * 4, begin=13)
    assert read_halts(tiny_repo, "stable").halted == ()


def test_phones_do_not_get_the_name_of_who_halts_without_a_reason(tiny_repo, tmp_path):
    of_repo = open_database(default_url(tiny_repo))
    manifest = read_policy(tiny_repo, "stable").releases[0].manifest
    token = tokens.make(of_repo, "alice", "operate", 1, int(time.time()))[1]
    wanted = Action(action="halt", channel="stable", manifest=manifest)
    Operations(tiny_repo, of_repo, load_signers(tmp_path / "keys")).do(token, wanted)
    assert read_halts(tiny_repo, "stable").reason(manifest) == "by an operator"
    (file,) = (tiny_repo / "targets" / "halts").glob("*.stable.json")
    assert b"alice" not in file.read_bytes()


def test_without_the_brakes_key_outcomes_leave_no_trace_in_the_audit_log(
    tiny_repo, client, tmp_path
):
    (tmp_path / "online" / "brake.pem").unlink()
    manifest = read_policy(tiny_repo, "stable").releases[0].manifest
    post_each(client, manifest, [LEFT] * 9)
    assert audit.entries(open_database(default_url(tiny_repo)), 9) == []


def test_while_a_publish_runs_one_request_waits_for_it_and_no_other(tiny_repo, client):
    manifest = read_policy(tiny_repo, "stable").releases[0].manifest
    post_each(client, manifest, [LEFT] * 8)
    with state.writing(tiny_repo):
        first = threading.Thread(target=post_each, args=(client, manifest, [LEFT], 8))
        first.start()
        first.join(1)
        assert first.is_alive()
        post_each(client, manifest, [LEFT], 9)
        assert first.is_alive()  # else this one waited as long
    first.join()
    assert read_halts(tiny_repo, "stable").reason(manifest)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"consent": False}, 403),
        ({"consent": 1}, 403),
        ({"outcomes": {}}, 400),
        ({"outcomes": [{}] * (MAX_BATCH + 1)}, 413),
        ({"channel": "nightly"}, 404),
        ({"channel": None}, 404),
    ],
)
def test_what_is_no_batch_of_outcomes_is_refused(client, changes, status):
    assert post(client, [], **changes).status_code == status


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"[", "application/json", 400),
        (b"[", "text/plain", 415),
        (b"[" * 50_000, "application/json", 400),
        (b" " * (MAX_BODY_BYTES + 1), "application/json", 413),
        (b'{"consent": false, "consent": true, "outcomes": []}', "application/json", 400),
        (b'{"consent": true, "channel": "\\ud800", "outcomes": []}', "application/json", 400),
    ],
)
def test_a_body_that_two_readers_may_read_differently_is_refused(client, body, kind, status):
    assert client.post("/v1/outcomes", data=body, content_type=kind).status_code == status


def test_a_server_without_the_brake_counts_and_cannot_halt(tiny_repo):
    repo = tiny_repo
    client = create_app(Settings(repo=repo, log_requests=False)).test_client()
    manifest = read_policy(repo, "stable").releases[0].manifest
    answer = post(client, [told(n, manifest, "reverted") for n in range(9)])
    assert len(answer.json["accepted"]) == 9
    assert read_halts(repo, "stable").halted == ()
