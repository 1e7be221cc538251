import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from bundle.rollout import FailureLimit
from sync_server import audit, state, tokens
from sync_server.app import create_app
from sync_server.database import default_url, open_database
from sync_server.halting import why_halt
from sync_server.keys import load_signers
from sync_server.operations import Action, Operations
from sync_server.outcomes import KINDS, MAX_BATCH, SEEN_DAYS, Health, count, healths
from sync_server.repository import change_policy, read_halts, read_policy, unhalt
from sync_server.settings import Settings
from sync_server.tables import OUTCOME_SEEN

A, B = "0a" * 32, "0b" * 32
DAY_S = 86_400
NOW = 20_000 * DAY_S


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
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda batch: count(engine, "stable", {A, B}, batch, NOW), batches))
    assert sum(each.new for each in found) == 120
    assert healths(engine, "stable") == {
        A: Health(installed=30, self_test_failed=30),
        B: Health(installed=30, self_test_failed=30),
    }


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


@pytest.mark.parametrize(
    ("limit", "health", "halts"),
    [
        (None, {"self_test_failed": 1000}, False),
        ((100, 0.05), {"installed": 94, "self_test_failed": 5}, False),  # 99 told of it
        ((100, 0.05), {"installed": 95, "self_test_failed": 5}, False),  # 5% are not more than 5%
        ((100, 0.05), {"installed": 94, "self_test_failed": 6}, True),
        ((100, 0.05), {"installed": 100, "reverted": 5}, False),
        ((100, 0.05), {"installed": 100, "reverted": 6}, True),  # they had installed it before
        ((3, 0.5), {"download_failed": 1, "self_test_failed": 1, "reverted": 0}, False),
        ((3, 0.5), {"download_failed": 2, "installed": 1}, True),
        ((1, 0), {"installed": 5}, False),
        ((1, 1), {"self_test_failed": 5}, False),
    ],
)
def test_a_release_is_halted_beyond_its_limit_and_not_before(limit, health, halts):
    found = why_halt(limit and FailureLimit(of=limit[0], share=limit[1]), Health(**health))
    assert (found is not None) == halts


def test_the_reason_says_how_many_and_how():
    health = Health(installed=90, self_test_failed=10, reverted=2)
    found = why_halt(FailureLimit(of=100, share=0.1), health)
    assert found == "failed on 12 of 100 devices (self-test 10, reverted 2)"


@pytest.fixture
def client(tiny_repo, tmp_path):
    """A client of the app with the keys of the brake; its release may fail on 1 of 4 devices."""
    repo, signers = tiny_repo, load_signers(tmp_path / "keys")

    def limited(policy):
        (stage,) = policy.releases
        return replace(
            policy, releases=(replace(stage, most_failures=FailureLimit(of=4, share=0.25)),)
        )

    change_policy(repo, signers, "stable", limited)
    online = tmp_path / "online"
    online.mkdir()
    for name in ("brake", "snapshot", "timestamp"):
        (online / f"{name}.pem").write_bytes((tmp_path / "keys" / f"{name}.pem").read_bytes())
    return create_app(Settings(repo=repo, keys=online, log_requests=False)).test_client()


def post(client, rows, **changes):
    body = {"consent": True, "channel": "stable", "outcomes": rows} | changes
    return client.post("/v1/outcomes", data=json.dumps(body), content_type="application/json")


def test_the_server_halts_by_the_brake_alone_what_fails_too_often(tiny_repo, client):
    repo = tiny_repo
    manifest = read_policy(repo, "stable").releases[0].manifest
    post(client, [told(n, manifest) for n in range(3)])
    post(client, [told(3, manifest, "self_test_failed")])
    assert read_halts(repo, "stable").halted == ()
    answer = post(client, [told(4, manifest, "reverted")])
    assert answer.status_code == 200
    reason = "failed on 2 of 4 devices (self-test 1, reverted 1)"
    assert read_halts(repo, "stable").reason(manifest) == reason
    assert b"pocketrec_halts_total 1.0" in client.get("/metrics").data
    (entry,) = audit.entries(open_database(default_url(repo)), 9)
    assert (entry.actor, entry.action, entry.outcome) == ("server", "halt", "done")
    assert entry.details == {"reason": reason}
    post(client, [told(5, manifest, "reverted")])
    assert len(read_halts(repo, "stable").halted) == 1


def test_devices_that_tell_of_success_may_bring_the_count_to_which_failures_are_too_many(
    tiny_repo, client
):
    repo = tiny_repo
    manifest = read_policy(repo, "stable").releases[0].manifest
    post(client, [told(n, manifest, "self_test_failed") for n in range(2)])
    post(client, [told(2, manifest)])
    assert read_halts(repo, "stable").halted == ()
    post(client, [told(3, manifest)])
    assert len(read_halts(repo, "stable").halted) == 1


def test_a_release_that_a_person_lets_go_on_is_judged_by_what_comes_then(
    tiny_repo, client, tmp_path
):
    repo = tiny_repo
    manifest = read_policy(repo, "stable").releases[0].manifest
    online = load_signers(tmp_path / "online")
    post(client, [told(n, manifest, "self_test_failed") for n in range(4)])
    assert unhalt(repo, online, "stable", manifest)
    post(client, [told(n, manifest, "self_test_failed") for n in range(4, 7)])
    assert read_halts(repo, "stable").halted == ()  # three have told of it since then
    post(client, [told(7, manifest, "self_test_failed")])
    reason = "failed on 4 of 4 devices (self-test 4)"
    assert read_halts(repo, "stable").reason(manifest) == reason


def test_a_release_that_is_halted_by_hand_is_judged_by_what_comes_then(tiny_repo, client, tmp_path):
    engine = open_database(default_url(tiny_repo))
    manifest = read_policy(tiny_repo, "stable").releases[0].manifest
    post(client, [told(0, manifest, "self_test_failed"), told(1, manifest)])
    operations = Operations(tiny_repo, engine, load_signers(tmp_path / "online"))
    token = tokens.make(engine, "alice", "operate", 1, int(time.time()))[1]

    def act(action):
        operations.do(token, Action(action=action, channel="stable", manifest=manifest))

    act("halt")
    post(client, [told(2, manifest)])
    act("unhalt")
    post(client, [told(3, manifest, "self_test_failed")])  # 2 of all 4, but 1 of 1 since then
    assert read_halts(tiny_repo, "stable").halted == ()


def test_without_the_brakes_key_outcomes_leave_no_trace_in_the_audit_log(
    tiny_repo, client, tmp_path
):
    (tmp_path / "online" / "brake.pem").unlink()
    manifest = read_policy(tiny_repo, "stable").releases[0].manifest
    assert post(client, [told(n, manifest, "reverted") for n in range(9)]).status_code == 200
    assert audit.entries(open_database(default_url(tiny_repo)), 9) == []


def test_while_a_publish_runs_one_request_waits_for_it_and_no_other(tiny_repo, client):
    manifest = read_policy(tiny_repo, "stable").releases[0].manifest
    rows = [told(n, manifest, "reverted") for n in range(9)]
    with state.writing(tiny_repo):
        first = threading.Thread(target=post, args=(client, rows))
        first.start()
        first.join(1)
        assert first.is_alive()
        assert post(client, [told(99, manifest, "reverted")]).status_code == 200
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
    assert client.post("/v1/outcomes", data="[").status_code in (400, 415)
    deep = client.post("/v1/outcomes", data=b"[" * 100_000, content_type="application/json")
    assert deep.status_code == 400


def test_a_server_without_the_brake_counts_and_cannot_halt(tiny_repo):
    repo = tiny_repo
    client = create_app(Settings(repo=repo, log_requests=False)).test_client()
    manifest = read_policy(repo, "stable").releases[0].manifest
    answer = post(client, [told(n, manifest, "reverted") for n in range(9)])
    assert len(answer.json["accepted"]) == 9
    assert read_halts(repo, "stable").halted == ()
