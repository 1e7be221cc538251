"""What is live: times of a release, and a version that differs once something changed."""

import os
import time

import pytest

from pocketrec_bundle.settings.rollout import PAUSED
from pocketrec_server.repository.channel_status import live
from pocketrec_server.repository.keys import load_signers
from pocketrec_server.repository.publish import change_policy, halt, publish, refresh, unhalt
from pocketrec_server.repository.rollout import changed


@pytest.fixture
def signers(tiny_repo, tmp_path):
    return load_signers(tmp_path / "keys")


def stable(repo):
    return live(repo)[0]


def test_a_release_has_the_time_of_its_data_its_build_and_its_first_publish(
    tiny_repo, signers, renamed_release, monkeypatch
):
    folder = renamed_release("second")
    os.utime(folder / "manifest.json", (1_700_000_500, 1_700_000_500))
    before = int(time.time())
    publish(folder, tiny_repo, signers, "stable", percent=5)
    release = stable(tiny_repo).releases[0]
    assert release.built_utc == 1_700_000_500
    assert before <= release.published_utc <= time.time()
    real = time.time
    monkeypatch.setattr("pocketrec_server.repository.channel.time.time", lambda: real() + 86_400)
    os.utime(folder / "manifest.json")
    publish(folder, tiny_repo, signers, "stable", percent=50)  # again: it is the same release
    refresh(tiny_repo, signers, everything=True)
    again = stable(tiny_repo).releases[0]
    assert (again.percent, again.built_utc) == (50, release.built_utc)
    assert again.published_utc == release.published_utc
    assert again.data_until_utc not in (again.built_utc, again.published_utc)


def test_the_version_of_a_channel_differs_after_a_change_and_not_after_a_renewal(
    tiny_repo, signers
):
    first = stable(tiny_repo).version
    sha = stable(tiny_repo).releases[0].stage.manifest
    refresh(tiny_repo, signers, everything=True)
    assert stable(tiny_repo).version == first
    halt(tiny_repo, signers, "stable", sha, "odd")
    assert stable(tiny_repo).version != first
    unhalt(tiny_repo, signers, "stable", sha)
    assert stable(tiny_repo).version == first
    paused = change_policy(
        tiny_repo,
        signers,
        "stable",
        lambda policy: changed(policy, policy.releases[0], state=PAUSED),
    )
    assert paused.releases[0].state == PAUSED
    assert stable(tiny_repo).version != first
