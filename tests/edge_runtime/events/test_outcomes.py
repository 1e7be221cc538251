import json

import pytest

from pocketrec_edge.events import release_outcomes as outcomes
from pocketrec_edge.events.release_outcomes import INSTALLED, MAX_KEPT, REVERTED
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.releases import blocklist
from pocketrec_edge.sync import bucket_id

A, B = "0a" * 32, "0b" * 32


def test_each_outcome_of_a_release_is_kept_once(tmp_path):
    for manifest, outcome, ts in ((A, INSTALLED, 5), (A, INSTALLED, 6), (A, REVERTED, 7)):
        outcomes.record(PhoneHome(tmp_path), manifest, outcome, ts)
    found = outcomes.pending(PhoneHome(tmp_path))
    assert [(one.outcome, one.ts) for one in found] == [(INSTALLED, 5), (REVERTED, 7)]


def test_what_is_finished_is_not_sent_and_does_not_come_again(tmp_path):
    outcomes.record(PhoneHome(tmp_path), A, INSTALLED, 5)
    sent = [one.id for one in outcomes.pending(PhoneHome(tmp_path))]
    outcomes.record(PhoneHome(tmp_path), B, INSTALLED, 6)  # while they were under way
    outcomes.finish(PhoneHome(tmp_path), sent)
    assert [(one.manifest, one.ts) for one in outcomes.pending(PhoneHome(tmp_path))] == [(B, 6)]
    outcomes.record(PhoneHome(tmp_path), A, INSTALLED, 7)
    assert [one.manifest for one in outcomes.pending(PhoneHome(tmp_path))] == [B]


def test_only_the_latest_are_kept(tmp_path):
    for n in range(MAX_KEPT + 3):
        outcomes.record(PhoneHome(tmp_path), f"{n:064x}", INSTALLED, n)
    assert [one.ts for one in outcomes.read(PhoneHome(tmp_path))] == list(range(3, MAX_KEPT + 3))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[1]",
        b"[" * 100_000,
        json.dumps(
            [{"id": "1", "manifest": "../x", "outcome": INSTALLED, "ts": 1, "done": False}]
        ).encode(),
        json.dumps(
            [{"id": "1", "manifest": A, "outcome": "fine", "ts": 1, "done": False}]
        ).encode(),
        json.dumps(
            [{"id": "1", "manifest": A, "outcome": INSTALLED, "ts": "1", "done": False}]
        ).encode(),
        json.dumps([{"id": "1", "manifest": A, "outcome": INSTALLED, "ts": 1}]).encode(),
        json.dumps(
            [{"id": 1, "manifest": A, "outcome": INSTALLED, "ts": 1, "done": False}]
        ).encode(),
    ],
)
def test_a_damaged_file_holds_nothing_and_is_written_anew(tmp_path, data):
    PhoneHome(tmp_path).outcomes.write_bytes(data)
    assert outcomes.read(PhoneHome(tmp_path)) == []
    outcomes.record(PhoneHome(tmp_path), A, INSTALLED, 5)
    assert len(outcomes.read(PhoneHome(tmp_path))) == 1


def test_an_outcome_that_cannot_be_written_is_no_error(tmp_path):
    outcomes.record(
        PhoneHome(tmp_path / "file" if (tmp_path / "file").write_bytes(b"") else tmp_path),
        A,
        INSTALLED,
        1,
    )


def test_refused_releases_are_kept_with_what_was_killed_apart(tmp_path):
    blocklist.block(PhoneHome(tmp_path), A)
    blocklist.set_killed(PhoneHome(tmp_path), frozenset({A, B}))
    assert blocklist.read(PhoneHome(tmp_path)) == {A: "failed", B: "killed"}
    assert blocklist.failed(PhoneHome(tmp_path)) == {A}
    blocklist.set_killed(PhoneHome(tmp_path), frozenset())
    assert blocklist.read(PhoneHome(tmp_path)) == {A: "failed"}


@pytest.mark.parametrize(
    "data", [b"", b"[[1]]", b'[["../x","failed"]]', b'[["' + A.encode() + b'","?"]]']
)
def test_refusals_that_cannot_be_read_are_none(tmp_path, data):
    PhoneHome(tmp_path).refused.write_bytes(data)
    assert blocklist.read(PhoneHome(tmp_path)) == {}


def test_only_the_latest_refusals_are_kept(tmp_path):
    for n in range(blocklist.MAX_KEPT + 2):
        blocklist.block(PhoneHome(tmp_path), f"{n:064x}")
    assert blocklist.failed(PhoneHome(tmp_path)) == {
        f"{n:064x}" for n in range(2, blocklist.MAX_KEPT + 2)
    }


def test_a_bucket_id_is_drawn_once_and_anew_where_it_is_damaged(tmp_path):
    first = bucket_id.bucket_id(PhoneHome(tmp_path))
    assert len(first) == 16
    assert (
        bucket_id.bucket_id(PhoneHome(tmp_path))
        == first
        != bucket_id.bucket_id(PhoneHome(tmp_path / "other"))
    )
    PhoneHome(tmp_path).bucket_id.write_bytes(b"\xff" * 16)
    second = bucket_id.bucket_id(PhoneHome(tmp_path))
    assert second != first and bucket_id.bucket_id(PhoneHome(tmp_path)) == second
