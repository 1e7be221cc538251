"""Whatever a publisher does in whatever order, all is proved, and phones old and new follow."""

import shutil
from functools import partial
from itertools import count

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pocketrec_bundle.disk.files import sha256_file
from pocketrec_bundle.errors import InputError
from pocketrec_edge.releases.store import Store
from pocketrec_edge.sync.client import sync
from pocketrec_server.repository import state
from pocketrec_server.repository.keys import load_signers, make_keys
from pocketrec_server.repository.pruning import prune
from pocketrec_server.repository.publish import (
    found_repository,
    halt,
    publish,
    read_halts,
    read_policy,
    refresh,
    unhalt,
)
from pocketrec_server.repository.rotation import add_channel, revoke, rotate

KEYS = ["root-1", "root-2", "root-3", "targets", "snapshot", "timestamp", "brake", "stable", "beta"]
RELEASES = st.integers(0, 2)
STEPS = st.one_of(
    st.tuples(st.just("publish"), RELEASES, st.sampled_from(["stable", "stable", "beta"])),
    st.tuples(st.just("rotate"), st.lists(st.sampled_from(KEYS), min_size=1, max_size=3)),
    st.tuples(st.just("revoke"), st.lists(st.sampled_from(KEYS), min_size=1, max_size=2)),
    st.tuples(st.just("refresh")),
    st.tuples(st.just("halt"), st.booleans()),
    st.tuples(st.just("prune")),
    st.tuples(st.just("add")),
    st.tuples(st.just("sync")),
)
NUMBERS = count()


class Publisher:
    def __init__(self, folder, releases):
        self.keys, self.repo, self.releases = folder / "keys", folder / "repo", releases
        make_keys(self.keys)
        found_repository(self.repo, self.signers)
        self.founded = False
        self.publish(0, "stable")
        self.publish(0, "beta")
        self.founded = True

    @property
    def signers(self):
        return load_signers(self.keys)

    def publish(self, release, channel):
        folder = self.releases[release]
        halts = read_halts(self.repo, channel) if self.founded else None
        if halts and halts.reason(sha256_file(folder / "manifest.json")) is not None:
            with pytest.raises(InputError, match="is halted"):
                publish(folder, self.repo, self.signers, channel)
        else:
            publish(folder, self.repo, self.signers, channel)

    def rotate(self, names):
        rotate(self.repo, self.signers, names)

    def revoke(self, names):
        revoke(self.repo, self.signers, names)

    def refresh(self):
        refresh(self.repo, self.signers, everything=True)

    def halt(self, on):
        (newest, *_) = read_policy(self.repo, "beta").releases
        args = self.repo, self.signers, "beta", newest.manifest
        halt(*args, "a test") if on else unhalt(*args)

    def prune(self):
        prune(self.repo, days=0)

    def add(self):
        add_channel(self.repo, self.signers, f"night-{len(state.load(self.repo).targets)}")

    def newest(self):
        return read_policy(self.repo, "stable").releases[0].name


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(STEPS, min_size=1, max_size=8))
@example([("halt", True), ("publish", 0, "beta"), ("halt", False), ("publish", 0, "beta")])
def test_phones_follow(named_releases, static_server, tmp_path, steps):
    folder = tmp_path / f"{next(NUMBERS)}"
    publisher = Publisher(folder, named_releases)
    shutil.copy(publisher.repo / "metadata" / "1.root.json", folder)
    with static_server(publisher.repo) as url:
        go = partial(sync, root_path=folder / "1.root.json", self_test=lambda _: None)
        go(folder / "phone", url)
        for name, *args in steps:
            if name == "sync":
                go(folder / "phone", url)
            else:
                getattr(publisher, name)(*args)
            state.load(publisher.repo)
        for home in ("phone", "new phone"):
            go(folder / home, url)
            bundle, fault = Store(folder / home / "store").open_active()
            assert bundle is not None
            assert (bundle.manifest.name, fault) == (publisher.newest(), None)
            assert go(folder / home, url).requests == 1
