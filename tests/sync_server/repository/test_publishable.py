"""Publish refuses what phones would refuse or what is older, and keeps to a channel's stages."""

import hashlib
import json
import shutil

import pytest

import pocketrec
from pocketrec import rollout_table
from pocketrec.cli import main
from pocketrec.self_test import SelfTestRefusedError
from pocketrec_bundle.errors import BundleInvalidError, InputError
from pocketrec_bundle.manifest import parse_manifest
from pocketrec_bundle.settings.rollout import FailureLimit
from pocketrec_edge.releases.store import Store
from pocketrec_edge.sync.client import sync
from pocketrec_export.conformance.tiny_bundle import CREATED_UTC, write_tiny_bundle
from pocketrec_server.errors import KeysInvalidError, RepositoryInvalidError
from pocketrec_server.repository.channel_status import live
from pocketrec_server.repository.keys import load_signers, make_key, make_keys
from pocketrec_server.repository.publish import (
    change_policy,
    found_repository,
    halt,
    publish,
    read_first_percent,
    read_policy,
    roll_back,
    set_first_percent,
)
from pocketrec_server.repository.rollout import changed, find


def changed_release(release, to, **facts):
    """A copy of a release whose manifest says something else."""
    shutil.copytree(release, to)
    path = to / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | facts))
    return to


def untouched(repo):
    return (repo / "metadata" / "timestamp.json").read_bytes()


def limit(repo, signers, release, share=0.05):
    change_policy(
        repo,
        signers,
        "stable",
        lambda policy: changed(
            policy, find(policy, release), most_failures=FailureLimit(of=20, share=share)
        ),
    )


def shares(repo):
    return [(stage.name, stage.percent) for stage in read_policy(repo, "stable").releases]


@pytest.mark.parametrize(
    ("left_out", "why"),
    [
        ("models/", "has no models, so no device could compute a slate"),
        ("models/ranker", "has no ranker for onnx, only the other model"),
        ("models/user_tower", "has no user_tower for onnx, only the other model"),
    ],
)
def test_a_bundle_without_its_models_is_refused(founded, tiny_release, tmp_path, left_out, why):
    repo, signers = founded
    files = json.loads((tiny_release / "manifest.json").read_bytes())["files"]
    kept = [file for file in files if not file["name"].startswith(left_out)]
    bundle = changed_release(tiny_release, tmp_path / "bundle", files=kept, name="bare")
    before = untouched(repo)
    with pytest.raises(BundleInvalidError, match=f"bare: {why}"):
        publish(bundle, repo, signers, "stable")
    assert untouched(repo) == before


def test_a_bundle_that_phones_could_not_test_is_refused(founded, tmp_path):
    repo, signers = founded
    write_tiny_bundle(tmp_path / "bundle", answers=True, name="untested")
    path = tmp_path / "bundle" / "manifest.json"
    entries = parse_manifest(path.read_bytes())
    golden = tmp_path / "bundle" / "files" / entries.entry("golden.json").sha256
    value = json.loads(golden.read_bytes()) | {"cases": []}
    rewrite(tmp_path / "bundle", "golden.json", json.dumps(value).encode())
    with pytest.raises(BundleInvalidError, match=r"untested: golden\.json has no case"):
        publish(tmp_path / "bundle", repo, signers, "stable")


def rewrite(bundle, name, data):
    """Replace a file of a bundle, and what its manifest says of it."""
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    sha256 = hashlib.sha256(data).hexdigest()
    (bundle / "files" / sha256).write_bytes(data)
    for file in manifest["files"]:
        if file["name"] == name:
            file |= {"sha256": sha256, "bytes": len(data)}
    (bundle / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture
def wrong_bundle(tmp_path):
    """A bundle whose golden slates do not come out of its models."""
    bundle = tmp_path / "wrong"
    write_tiny_bundle(bundle, answers=True, name="wrong")
    manifest = parse_manifest((bundle / "manifest.json").read_bytes())
    golden = bundle / "files" / manifest.entry("golden.json").sha256
    value = json.loads(golden.read_bytes())
    value["cases"][-1]["user_vector"][0] += 0.5
    rewrite(bundle, "golden.json", json.dumps(value).encode())
    return bundle


def test_the_command_runs_the_self_test_and_refuses_what_fails_it(
    tiny_repo, wrong_bundle, tmp_path, runner
):
    """As `verify` does: the golden slates must come out of the models that are in the bundle."""
    words = ["--repo", str(tiny_repo), "--keys", str(tmp_path / "keys")]
    before = untouched(tiny_repo)
    assert runner.invoke(main, ["verify", str(wrong_bundle)]).exit_code == 3
    done = runner.invoke(main, ["publish", str(wrong_bundle), *words])
    assert done.exit_code == 3
    assert "wrong: fails the self-test, so phones would refuse it: golden requests" in done.stderr
    assert untouched(tiny_repo) == before


def test_the_library_refuses_what_fails_the_self_test_unless_it_is_left_out(
    tiny_repo, wrong_bundle, tmp_path
):
    signers, before = load_signers(tmp_path / "keys"), untouched(tiny_repo)
    with pytest.raises(SelfTestRefusedError, match=r"wrong: fails the self-test.*golden requests"):
        pocketrec.publish(bundle=wrong_bundle, repo=tiny_repo, signers=signers)
    assert untouched(tiny_repo) == before
    report = pocketrec.publish(
        bundle=wrong_bundle, repo=tiny_repo, signers=signers, self_test=False
    )
    assert (report.release, report.changed) == ("wrong", True)


def test_a_machine_without_runtime_says_so_and_wants_it_said(
    tiny_repo, tiny_release, tmp_path, runner, monkeypatch
):
    monkeypatch.setattr("pocketrec_edge.engines.select.runtime", lambda _: "")
    bundle = changed_release(tiny_release, tmp_path / "next", name="next")
    words = ["publish", str(bundle), "--repo", str(tiny_repo), "--keys", str(tmp_path / "keys")]
    done = runner.invoke(main, words)
    assert done.exit_code == 1
    assert "no runtime for its models (onnx)" in done.stderr
    assert "--no-self-test" in done.stderr
    assert runner.invoke(main, [*words, "--no-self-test"]).exit_code == 0


def test_older_data_is_refused_unless_it_is_meant(founded, named_releases, tmp_path, runner):
    repo, signers = founded
    old = changed_release(
        named_releases[1], tmp_path / "old", created_utc=CREATED_UTC - 2 * 86_400, name="old"
    )
    with pytest.raises(InputError, match=r"old: its data ends 2\.0 days before that of 0, .*older"):
        publish(old, repo, signers, "stable")
    assert publish(old, repo, signers, "beta").changed  # nothing is below it there
    words = ["publish", str(old), "--repo", str(repo), "--keys", str(tmp_path / "keys")]
    assert runner.invoke(main, words).exit_code == 2
    assert runner.invoke(main, [*words, "--older"]).exit_code == 0
    assert shares(repo) == [("old", 100), ("0", 100)]
    change_policy(repo, signers, "stable", lambda p: changed(p, p.releases[0], state="killed"))
    with pytest.raises(InputError, match="its data ends"):  # 0 is what it would replace
        publish(changed_release(old, tmp_path / "other", name="other"), repo, signers, "stable")


def test_a_staged_channel_starts_the_next_release_at_its_first_stage(
    founded, named_releases, tmp_path
):
    """Also once the release below has reached everybody, and after one that was in a hurry."""
    repo, signers = founded
    assert read_first_percent(repo, "stable") == 100
    assert publish(named_releases[1], repo, signers, "stable", percent=5).percent == 5
    change_policy(repo, signers, "stable", lambda p: changed(p, p.releases[0], percent=100))
    third = changed_release(named_releases[0], tmp_path / "third", name="third")
    assert publish(third, repo, signers, "stable").percent == 5
    fourth = changed_release(named_releases[0], tmp_path / "fourth", name="fourth")
    assert publish(fourth, repo, signers, "stable", percent=100).percent == 100
    fifth = changed_release(named_releases[0], tmp_path / "fifth", name="fifth")
    assert publish(fifth, repo, signers, "stable").percent == 5
    assert publish(fifth, repo, signers, "stable", percent=50).percent == 50
    assert read_first_percent(repo, "stable") == 5  # that was a later stage
    assert "publish starts at 5% of the devices" in rollout_table.lines(
        rollout_table.read(repo, "stable")
    )
    assert publish(fifth, repo, signers, "beta", percent=0).percent == 0
    assert read_first_percent(repo, "beta") == 0  # of the newest release, until it is offered
    assert publish(fifth, repo, signers, "beta", percent=100).percent == 100
    assert read_first_percent(repo, "beta") == 100
    set_first_percent(repo, signers, "stable", 100)
    sixth = changed_release(named_releases[0], tmp_path / "sixth", name="sixth")
    assert publish(sixth, repo, signers, "stable").percent == 100


def test_a_channel_that_was_staged_before_there_was_a_first_stage_stays_staged(
    founded, named_releases, tmp_path
):
    repo, signers = founded
    ramp = ((1_700_000_000, 50.0), (4_000_000_000, 100.0))
    change_policy(
        repo, signers, "stable", lambda p: changed(p, p.releases[0], percent=1.0, ramp=ramp)
    )
    assert publish(named_releases[1], repo, signers, "stable").percent == 1


def test_the_failure_limit_outlives_a_rollback(founded, named_releases, tmp_path):
    repo, signers = founded
    publish(named_releases[1], repo, signers, "stable")
    limit(repo, signers, "1")
    roll_back(repo, signers, "stable", "0")
    first, second = read_policy(repo, "stable").releases
    assert (first.name, first.most_failures) == ("0", second.most_failures)
    assert first.most_failures == FailureLimit(of=20, share=0.05)
    third = changed_release(named_releases[0], tmp_path / "third", name="third")
    publish(third, repo, signers, "stable")
    assert read_policy(repo, "stable").releases[0].most_failures == first.most_failures
    publish(named_releases[1], repo, signers, "stable")  # by publishing what is older, too
    assert read_policy(repo, "stable").releases[0].most_failures == first.most_failures


def test_a_halted_release_is_neither_rolled_back_to_nor_published_again(
    founded, named_releases, tmp_path, runner
):
    repo, signers = founded
    publish(named_releases[1], repo, signers, "stable")
    third = changed_release(named_releases[0], tmp_path / "third", name="third")
    publish(third, repo, signers, "stable")
    halted = find(read_policy(repo, "stable"), "1").manifest
    halt(repo, signers, "stable", halted, "failed on 9 of 9 devices")
    words = ["--repo", str(repo), "--keys", str(tmp_path / "keys")]
    done = runner.invoke(main, ["rollout", "rollback", "1", *words])
    assert done.exit_code == 2
    assert "1: is halted (failed on 9 of 9 devices)" in done.stderr
    assert "Possible: 0 (" in done.stderr
    assert f"pocketrec rollout unhalt {halted[:12]}" in done.stderr
    with pytest.raises(InputError, match="is halted on stable"):
        publish(named_releases[1], repo, signers, "stable")
    assert shares(repo)[0] == ("third", 100)
    assert runner.invoke(main, ["rollout", "unhalt", "1", *words]).exit_code == 0
    assert runner.invoke(main, ["rollout", "rollback", "1", *words]).exit_code == 0


def test_a_name_is_signed_and_shown_by_phone_and_server(founded, tiny_release, static_of, tmp_path):
    repo, signers = founded
    report = publish(tiny_release, repo, signers, "stable", name="Frühling 2027")
    assert (report.release, shares(repo)[0][0]) == ("Frühling 2027", "Frühling 2027")
    assert live(repo)[0].releases[0].stage.name == "Frühling 2027"
    root = repo / "metadata" / "1.root.json"
    sync(tmp_path / "phone", static_of(repo), lambda _: None, root_path=root)
    bundle, _ = Store(tmp_path / "phone" / "store").open_active()
    assert bundle is not None
    assert bundle.manifest.name == "Frühling 2027"
    assert not publish(tiny_release, repo, signers, "stable", name="Frühling 2027").changed
    with pytest.raises(InputError, match="is the name of another release of stable"):
        publish(tiny_release, repo, signers, "stable", name="0")


@pytest.mark.parametrize(
    "name", ["", " spring", "-x", "a\nb", "\x1b[1m", "abc123", "x" * 65, "0123456789abcdef"]
)
def test_a_name_that_would_deceive_is_refused(founded, tiny_release, name):
    repo, signers = founded
    before = untouched(repo)
    with pytest.raises(InputError, match="release name"):
        publish(tiny_release, repo, signers, "stable", name=name)
    assert untouched(repo) == before


def test_missing_keys_are_named_at_once_with_the_files(founded, named_releases, tmp_path):
    repo, _ = founded
    for name in ("stable", "timestamp"):
        (tmp_path / "keys" / f"{name}.pem").rename(tmp_path / f"{name}.pem")
    signers = load_signers(tmp_path / "keys")
    wanted = (
        r"keys: no stable\.pem or stable\.uri, no timestamp\.pem or timestamp\.uri, which have to"
        r" sign this\. Add their folders by --keys"
    )
    with pytest.raises(KeysInvalidError, match=wanted):
        publish(named_releases[1], repo, signers, "stable")
    with pytest.raises(KeysInvalidError, match=wanted):
        change_policy(repo, signers, "stable", lambda p: changed(p, p.releases[0], percent=5))


def test_a_mistyped_repository_is_refused_by_every_command_and_not_made(
    tiny_release, tmp_path, runner
):
    make_keys(tmp_path / "keys")
    typo = ["--repo", str(tmp_path / "rep")]
    keys = ["--keys", str(tmp_path / "keys")]
    out = str(tmp_path / "out")
    found_repository(tmp_path / "real", load_signers(tmp_path / "keys"))
    real = ["--repo", str(tmp_path / "real")]
    for words in (
        ["publish", str(tiny_release), *typo, *keys],
        ["refresh", *typo, *keys],
        ["prune", *typo],
        ["rollout", "show", *typo],
        ["rollout", "history", *typo],
        ["rollout", "stage", "spring", "--percent", "5", *typo, *keys],
        ["rollout", "pause", "spring", *typo, *keys],
        ["rollout", "rollback", "spring", *typo, *keys],
        ["rollout", "halt", "spring", "--reason", "x", *typo, *keys],
        ["rollout", "unhalt", "spring", *typo, *keys],
        ["rollout", "first-stage", "5", *typo, *keys],
        ["rollout", "when", "--every-s", "600", *typo, *keys],
        ["keys", "status", *typo, *keys],
        ["keys", "rotate", "stable", "--plain", *typo, *keys],
        ["keys", "revoke", "stable", "--plain", *typo, *keys],
        ["keys", "add-channel", "night", "--plain", *typo, *keys],
        ["repo", "history", *typo],
        ["mirror", "--to", out, *typo],
        ["backup", "--out", out, "--key", str(tmp_path / "keys" / "root-1.pem"), *typo],
        ["serve", "--port", "0", *typo],
        ["admin", "token", "make", "--name", "x", *typo],
        ["admin", "token", "list", *typo],
        ["events", "stats", *typo],
        ["db", "upgrade", *typo],
        ["db", "upgrade", "--db", f"sqlite:///{tmp_path / 'rep.sqlite'}"],
        ["rollout", "show", *real, "--database", f"sqlite:///{tmp_path / 'rep.sqlite'}"],
        ["db", "status", *typo],
    ):
        before = sorted(path for path in tmp_path.rglob("*"))
        done = runner.invoke(main, words)
        assert done.exit_code in (1, 2), (words, done.output)
        assert "rep" in done.stderr, (words, done.stderr)
        assert "Traceback" not in done.stderr
        assert sorted(path for path in tmp_path.rglob("*")) == before, words


def test_a_repository_is_not_founded_over_other_files(tmp_path, runner):
    make_keys(tmp_path / "keys")
    other = tmp_path / "photos"
    other.mkdir()
    (other / "beach.jpg").write_bytes(b"x")
    words = ["--keys", str(tmp_path / "keys")]
    done = runner.invoke(main, ["repo", "init", "--repo", str(other), *words])
    assert (done.exit_code, "no repository, it holds beach.jpg" in done.stderr) == (2, True)
    done = runner.invoke(main, ["repo", "init", "--repo", str(tmp_path / "repo"), *words, "--json"])
    assert json.loads(done.stdout)["channels"] == ["stable", "beta", "canary"]
    again = runner.invoke(main, ["repo", "init", "--repo", str(tmp_path / "repo"), *words])
    assert (again.exit_code, "is a repository already" in again.stderr) == (2, True)


def test_a_repository_that_lost_its_timestamp_is_not_founded_over(founded, tmp_path):
    """Its phones trust the root that is there, and would refuse all that a new one signs."""
    repo, signers = founded
    root = repo / "metadata" / "1.root.json"
    before = root.read_bytes()
    (repo / "metadata" / "timestamp.json").unlink()
    with pytest.raises(InputError, match=r"without timestamp\.json\. Restore it"):
        found_repository(repo, signers)
    assert root.read_bytes() == before


def test_a_founding_that_was_cut_short_is_run_again(tmp_path):
    make_keys(tmp_path / "keys")
    signers = load_signers(tmp_path / "keys")
    found_repository(tmp_path / "repo", signers)
    (tmp_path / "repo" / "metadata" / "timestamp.json").unlink()  # what is written last
    assert found_repository(tmp_path / "repo", signers) == ["stable", "beta", "canary"]
    assert read_policy(tmp_path / "repo", "stable").releases == ()


def test_a_channel_of_another_name_is_founded_by_its_key(tmp_path, runner):
    make_keys(tmp_path / "keys", channels=())
    make_key(tmp_path / "keys", "night")
    words = ["--repo", str(tmp_path / "repo"), "--keys", str(tmp_path / "keys")]
    done = runner.invoke(main, ["repo", "init", *words])
    assert (done.exit_code, "no stable.pem" in done.stderr) == (1, True)
    done = runner.invoke(main, ["repo", "init", *words, "--channel", "night"])
    assert done.exit_code == 0, done.stderr
    assert read_policy(tmp_path / "repo", "night").releases == ()
    with pytest.raises(RepositoryInvalidError, match="no such folder"):
        read_policy(tmp_path / "rep", "night")
