import json

import pytest

from pocketrec_bundle.settings.rollout import KILLED, RolloutPolicy, Stage
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.sync import too_new

A, B = "0a" * 32, "0b" * 32
APP, NOW = "1.0", 1_700_000_000


def test_the_newest_reason_is_told_and_another_app_begins_again(tmp_path):
    found = too_new.read(PhoneHome(tmp_path), APP, NOW)
    assert (found.why, too_new.needed_update(PhoneHome(tmp_path))) == ({}, None)
    found = too_new.note(PhoneHome(tmp_path), found, A, "first")
    found = too_new.note(PhoneHome(tmp_path), found, B, "second")
    found = too_new.note(PhoneHome(tmp_path), found, A, "third")
    assert too_new.read(PhoneHome(tmp_path), APP, NOW + 9) == found
    assert list(found.why.items()) == [(B, "second"), (A, "third")]
    assert too_new.needed_update(PhoneHome(tmp_path)) == "third"
    assert too_new.read(PhoneHome(tmp_path), "1.1", NOW + 9).why == {}
    assert too_new.read(PhoneHome(tmp_path), APP, NOW - 9).why == {}  # the clock was set back


def test_only_what_is_offered_is_kept(tmp_path):
    found = too_new.read(PhoneHome(tmp_path), APP, NOW)
    for what in (too_new.POLICY, A, B):
        found = too_new.note(PhoneHome(tmp_path), found, what, what)
    live = Stage(manifest=A, name="a", percent=100)
    dead = Stage(manifest=B, name="b", percent=100, state=KILLED)
    kept = too_new.keep_only(
        PhoneHome(tmp_path), found, RolloutPolicy(channel="x", releases=(live, dead))
    )
    assert kept.why == {A: A}
    assert too_new.read(PhoneHome(tmp_path), APP, NOW) == kept
    assert too_new.keep_only(PhoneHome(tmp_path), kept, RolloutPolicy(channel="x")).why == {}
    assert not PhoneHome(tmp_path).update_app.exists()


def test_a_home_that_cannot_be_written_loses_the_note_and_no_more(tmp_path):
    found = too_new.note(
        PhoneHome(tmp_path / "no such folder"),
        too_new.read(PhoneHome(tmp_path), APP, NOW),
        A,
        "why",
    )
    assert found.why == {A: "why"}


def test_many_and_long_reasons_stay_small(tmp_path):
    found = too_new.read(PhoneHome(tmp_path), APP, NOW)
    for n in range(99):
        found = too_new.note(PhoneHome(tmp_path), found, f"{n:064x}", "x" * 9999)
    assert len(found.why) == too_new.MAX_KEPT
    assert PhoneHome(tmp_path).update_app.stat().st_size < 32 << 10


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        [],
        [APP, NOW],
        [APP, NOW, {A: "why"}],
        [APP, NOW, [[A]]],
        [APP, NOW, [[A, 1], [1, "why"], [[], {}], ["x", "why"]]],
        [APP, "now", [[A, "why"]]],
        [1, NOW, [[A, "why"]]],
        [APP, -(10**99), [[A, "why"]]],
    ],
)
def test_a_file_of_another_form_holds_nothing(tmp_path, value):
    PhoneHome(tmp_path).update_app.write_text(json.dumps(value))
    assert too_new.read(PhoneHome(tmp_path), APP, NOW).why == {}
    assert too_new.needed_update(PhoneHome(tmp_path)) is None


@pytest.mark.parametrize("data", [b"", b"\xff", b"[" * 100_000])
def test_a_file_that_is_damaged_holds_nothing(tmp_path, data):
    PhoneHome(tmp_path).update_app.write_bytes(data)
    assert too_new.needed_update(PhoneHome(tmp_path)) is None
