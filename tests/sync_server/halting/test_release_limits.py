"""Guardrails of releases: signed beside the policy, and the stages that they watch."""

import json
import time
from dataclasses import replace

import pytest
from sqlalchemy import String

from pocketrec_bundle.errors import BundleInvalidError, BundleTooNewError, InputError
from pocketrec_bundle.settings.experiment_arms import METRICS, Guardrail
from pocketrec_bundle.settings.release_guardrails import MAX_BYTES, ReleaseGuardrails
from pocketrec_server.copies.mirror import Folder, mirror
from pocketrec_server.experiments import signing
from pocketrec_server.halting.release_limits import (
    change_guardrails,
    guarded_stages,
    read_guardrails,
    watched,
    with_guardrail,
    without,
)
from pocketrec_server.repository import state
from pocketrec_server.repository.history import Note, policy_history
from pocketrec_server.repository.keys import load_signers, make_keys
from pocketrec_server.repository.pruning import prune
from pocketrec_server.repository.publish import (
    change_policy,
    found_repository,
    halt,
    publish,
    refresh,
    unhalt,
)
from pocketrec_server.repository.rollout import changed, find
from pocketrec_server.repository.rotation import rotate
from pocketrec_server.storage.tables import EXPOSED

PATH = "channels/stable/guardrails.json"
CTR = Guardrail(metric="ctr", worse_by=0.05, alpha=0.01)
SLOW = Guardrail(metric="slate_ms", worse_by=0.1, alpha=0.05)
LIMITS = ReleaseGuardrails(channel="stable", guardrails=(CTR, SLOW), days=7)


class Place:
    def __init__(self, folder, releases):
        self.folder, self.repo, self.releases = folder, folder / "repo", releases
        make_keys(folder / "keys")
        self.signers = load_signers(folder / "keys")
        found_repository(self.repo, self.signers)
        publish(releases[0], self.repo, self.signers, "stable", percent=50)

    def limit(self, limits=LIMITS, note=None):
        more = {} if note is None else {"note": note}
        return change_guardrails(self.repo, self.signers, "stable", lambda _: limits, **more)

    def publish(self, percent=50.0):
        publish(self.releases[1], self.repo, self.signers, "stable", percent=percent)

    def change(self, name, **changes):
        change_policy(
            self.repo, self.signers, "stable", lambda p: changed(p, find(p, name), **changes)
        )

    def stages(self, after_s=0):
        return guarded_stages(self.repo, time.time() + after_s)


@pytest.fixture
def place(named_releases, tmp_path):
    return Place(tmp_path, named_releases)


def test_a_channel_has_no_target_before_its_first_guardrail(place):
    assert PATH not in state.load(place.repo).targets["stable"].targets
    assert read_guardrails(place.repo, "stable") == ReleaseGuardrails(channel="stable")
    with pytest.raises(InputError, match="no channel 'x'"):
        read_guardrails(place.repo, "x")


def test_guardrails_are_signed_recorded_and_kept_by_every_other_change(place):
    assert place.limit(note=Note(by="alice", reason="try")) == LIMITS
    change = policy_history(place.repo, "stable")[0]
    assert (change.action, change.by, change.before) == ("guardrails", "alice", "no guardrails")
    assert change.after == "ctr 0.05 0.01, slate_ms 0.1 0.05 over 7 days"
    stamp = (place.repo / "metadata/timestamp.json").read_bytes()
    place.limit()
    assert (place.repo / "metadata/timestamp.json").read_bytes() == stamp
    place.publish()
    place.change("1", percent=60.0)
    arms = [{"name": "a", "share": 0.5}, {"name": "b", "share": 0.5}]
    one = {"id": "blend", "until_utc": int(time.time()) + 86_400, "arms": arms}
    signing.start(place.repo, place.signers, "stable", one)
    refresh(place.repo, place.signers, everything=True)
    rotate(place.repo, place.signers, ["stable"])
    prune(place.repo, days=0.0, now=time.time() + 9)
    assert read_guardrails(place.repo, "stable") == LIMITS
    mirror(place.repo, Folder(place.folder / "copy"))
    assert list((place.folder / "copy/targets/channels/stable").glob("*.guardrails.json"))


def test_a_limit_replaces_that_of_its_metric():
    other = replace(CTR, worse_by=0.2)
    assert with_guardrail(LIMITS, other).guardrails == (SLOW, other)
    assert without(LIMITS, ["ctr"]).guardrails == (SLOW,)
    with pytest.raises(InputError, match="no guardrail of failures; it has ctr, slate_ms"):
        without(LIMITS, ["failures"])


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"channel": "Not one"}, "channel must be"),
        ({"days": 0}, "days must be an integer 1..365"),
        ({"days": True}, "days must be"),
        ({"guardrails": [{}]}, "guardrail 1: keys differ"),
        ({"guardrails": {}}, "guardrails must be a list of at most 5"),
        ({"guardrails": [{"metric": ["ctr"], "worse_by": 0, "alpha": 0.01}]}, "metric must be one"),
        ({"guardrails": [{"metric": "ctr", "worse_by": 11, "alpha": 0.01}]}, "worse_by must be"),
        ({"guardrails": [{"metric": "ctr", "worse_by": 0, "alpha": 0}]}, "alpha must be"),
        ({"guardrails": [{"metric": "ctr", "worse_by": 0, "alpha": 0.1}] * 2}, "stands twice"),
        ({"more": 1}, "keys differ"),
        ({"format": 0}, "of another format"),
    ],
)
def test_bad_guardrails_are_refused(change, error):
    value = json.loads(LIMITS.to_bytes()) | change
    with pytest.raises(BundleInvalidError, match=error) as caught:
        ReleaseGuardrails.from_bytes(json.dumps(value).encode())
    assert caught.value.code == "rollout"


def test_newer_and_too_large_guardrails_are_refused():
    value = json.loads(LIMITS.to_bytes()) | {"format": 2}
    with pytest.raises(BundleTooNewError):
        ReleaseGuardrails.from_bytes(json.dumps(value).encode())
    with pytest.raises(BundleInvalidError):
        ReleaseGuardrails.from_bytes(b" " * (MAX_BYTES + 1))


def test_a_limit_out_of_bounds_is_not_signed(place):
    with pytest.raises(InputError, match="worse_by must be a number 0"):
        place.limit(replace(LIMITS, guardrails=(replace(CTR, worse_by=11.0),)))
    assert read_guardrails(place.repo, "stable").guardrails == ()


def test_a_release_is_watched_while_some_devices_have_it_and_others_do_not(place):
    place.publish()
    assert place.stages() == []  # without guardrails
    place.limit()
    (one,) = place.stages()
    assert (one.stage.name, len(one.earlier), one.channel) == ("1", 1, "stable")
    assert one.begin_utc <= time.time() and one.subject.startswith(f"stable {one.release} ")
    assert watched(place.repo, time.time()) == [one.subject]
    for percent in (0.0, 100.0):
        place.change("1", percent=percent)
        assert place.stages() == []
    place.change("1", percent=10.0, state="paused")
    assert place.stages() == []


def test_the_first_release_of_a_channel_is_compared_with_none(place):
    place.limit()
    assert place.stages() == []


def test_a_halt_ends_the_stage_and_an_unhalt_begins_one(place):
    place.publish()
    place.limit()
    (one,) = place.stages()
    halt(place.repo, place.signers, "stable", one.stage.manifest, "bad")
    assert place.stages() == []
    unhalt(place.repo, place.signers, "stable", one.stage.manifest)
    assert [each.rollout for each in place.stages()] == [one.rollout]


def test_each_step_of_a_ramp_is_a_stage(place):
    place.publish(percent=10.0)
    place.limit()
    now = int(time.time())
    place.change("1", ramp=((now + 100, 50.0), (now + 200, 100.0)))
    (first,), (second,) = place.stages(), place.stages(150)
    assert first.begin_utc <= now + 5 and second.begin_utc == now + 100
    assert first.subject != second.subject and first.rollout == second.rollout
    assert place.stages(250) == []


def test_stages_that_begin_in_one_second_differ_and_fit_the_tables(place):
    place.publish()
    place.limit()
    (one,) = place.stages()
    long = replace(one, channel="c" * 32, begin_utc=2**32 - 1)
    wider = replace(long, stage=replace(one.stage, percent=99.99))
    assert long.subject != wider.subject and long.rollout == wider.rollout
    assert isinstance(EXPOSED.c.subject.type, String)
    assert len(wider.subject) <= (EXPOSED.c.subject.type.length or 0)


def test_no_repository_is_no_stage(tmp_path):
    assert guarded_stages(tmp_path, 0.0) == []
    assert watched(tmp_path, 0.0) == []


def test_a_damaged_repository_does_not_stop_uploads(place):
    place.publish()
    place.limit()
    for path in (place.repo / "targets/channels/stable").glob("*.guardrails.json"):
        path.write_bytes(b"x")
    (place.repo / "metadata/timestamp.json").touch()
    assert watched(place.repo, time.time()) == []


def test_the_command_takes_the_metrics_of_guardrails():
    from pocketrec.commands.repository.rollout_guard import METRICS as OF_COMMAND

    assert OF_COMMAND == METRICS
