"""A bad network, kind by kind: a real device, a real server, and a proxy that does damage."""

import shutil
from contextlib import suppress

import pytest

from benchmarks.support import command_line
from benchmarks.support.drawn_release import Drawn, write_drawn_release
from benchmarks.support.network.fault_proxy import KINDS, FaultProxy, Faults
from pocketrec_bundle.disk.files import sha256_file
from pocketrec_bundle.reader import open_bundle
from pocketrec_edge.errors import SyncError
from pocketrec_edge.releases.store import Store
from pocketrec_edge.sync.client import sync
from pocketrec_edge.sync.http import Pace
from pocketrec_edge.sync.transfer import Retry
from pocketrec_server.repository.keys import load_signers, make_keys
from pocketrec_server.repository.publish import found_repository, publish

SHORT = Pace(within_s=0.3, timeout_s=2.0)
RETRY = Retry(tries=3, first_s=0.001, most_s=0.01)
TRIES = 20


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """(folder, address of a server whose newest release is the second, hashes of both).

    `phone` in the folder has the first release.
    """
    folder = tmp_path_factory.mktemp("faults")
    make_keys(folder / "keys")
    signers, shas, base = load_signers(folder / "keys"), [], None
    first = Drawn.of(400, 16, 1)
    found_repository(folder / "repo", signers)
    with command_line.server(folder / "repo", folder) as url:
        for name, items in (("one", first), ("two", first.with_rows(0.02, 2))):
            write_drawn_release(folder / name, items, name, base, answers=True)
            base = open_bundle(folder / name)
            publish(folder / name, folder / "repo", signers, "stable")
            shas.append(sha256_file(folder / name / "manifest.json"))
            if name == "one":
                root = folder / "repo" / "metadata" / "1.root.json"
                sync(folder / "phone", url, lambda _: None, root_path=root)
        yield folder, url, shas


@pytest.fixture
def phone(world, tmp_path):
    """Home of a phone with the first release."""
    return shutil.copytree(world[0] / "phone", tmp_path / "phone", symlinks=True)


def go(phone, url):
    return sync(phone, url, lambda _: None, retry=RETRY, pace=SHORT)


@pytest.mark.parametrize("kind", KINDS)
def test_a_phone_keeps_what_it_has_and_gets_there(world, phone, kind):
    _, url, (old, new) = world
    store = Store(phone / "store")
    faults = Faults(share=0.4, kinds=(kind,), drip_s=0.002, endless_bytes=1 << 17)
    with FaultProxy(url, 3, faults) as proxy:
        for _ in range(TRIES):
            try:
                report = go(phone, proxy.url)
                break
            except SyncError:
                assert store.active() == (old, None)
                assert store.open_active()[1] is None
        assert proxy.done[kind] > 0
    assert store.active() == (report.to_release, old) == (new, old)
    assert store.open_active()[1] is None
    assert [path.name for path in store.files.glob(".*")] == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_without_a_sound_answer_ends_the_sync_and_no_more(world, phone, kind):
    _, url, (old, _) = world
    faults = Faults(share=1.0, kinds=(kind,), drip_s=0.1, endless_bytes=1 << 30)
    with FaultProxy(url, 4, faults) as proxy, pytest.raises(SyncError, match="release on this"):
        go(phone, proxy.url)
    store = Store(phone / "store")
    assert store.active() == (old, None)
    assert store.open_active()[1] is None
    assert proxy.body_bytes < 1 << 20
    assert sync(phone, url, lambda _: None).status == "updated"


@pytest.mark.parametrize(("asked_s", "waited"), [(0, 2), (5, 2), (600, 0)])
def test_a_busy_server_is_obeyed_unless_it_asks_for_too_long(world, phone, asked_s, waited):
    waits: list[float] = []
    retry = Retry(tries=3, sleep=waits.append, random=lambda: 0.0)
    faults = Faults(share=1.0, kinds=("busy",), retry_after_s=asked_s)
    with FaultProxy(world[1], 5, faults) as proxy, pytest.raises(SyncError, match="429"):
        sync(phone, proxy.url, lambda _: None, retry=retry)
    assert waits == [float(asked_s)] * waited


def test_the_same_seed_does_the_same_damage(world, phone, tmp_path):
    done = []
    for name in ("a", "b"):
        home = shutil.copytree(phone, tmp_path / name, symlinks=True)
        with FaultProxy(world[1], 6, Faults(share=0.5, kinds=("truncate", "flip"))) as proxy:
            for _ in range(3):
                with suppress(SyncError):
                    go(home, proxy.url)
            done.append((proxy.done, proxy.body_bytes))
    assert done[0] == done[1]
    assert done[0][0]["flip"] > 0
