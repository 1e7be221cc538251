"""A published release, for every test of the room."""

import pytest

from sync_server.keys import load_signers, make_keys
from sync_server.repository import publish


@pytest.fixture
def published(small_release, tmp_path):
    """(repository, signers) with the small release on channel stable."""
    make_keys(tmp_path / "keys")
    signers = load_signers(tmp_path / "keys")
    report = publish(small_release, tmp_path / "repo", signers, "stable")
    assert report.changed
    return tmp_path / "repo", signers


@pytest.fixture
def founded(named_releases, tmp_path):
    """(repository, signers) with a tiny release on channel stable."""
    make_keys(tmp_path / "keys")
    signers = load_signers(tmp_path / "keys")
    publish(named_releases[0], tmp_path / "repo", signers, "stable")
    return tmp_path / "repo", signers
