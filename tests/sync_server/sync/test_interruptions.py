"""Processes that end, or meet, in the middle of a sync: servers and devices, all real."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from uuid import UUID

import pytest

from benchmarks.support import command_line
from benchmarks.support.drawn_release import Drawn, write_drawn_release
from benchmarks.support.network.fault_proxy import FaultProxy, Faults
from pocketrec_bundle.disk.files import sha256_file
from pocketrec_edge.errors import SyncError
from pocketrec_edge.events.event import Event
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.releases.store import Store
from pocketrec_edge.sync.client import sync
from pocketrec_edge.sync.http import Pace
from pocketrec_edge.sync.transfer import Retry
from pocketrec_server.repository.keys import load_signers, make_keys
from pocketrec_server.repository.publish import found_repository, publish

SLOW = Pace(most=150_000)
DEVICE = """
import sys
from pathlib import Path
from pocketrec_bundle.errors import PocketRecError
from pocketrec_edge.sync.client import sync
from pocketrec_edge.sync.http import Pace
home, url, root, most = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
print("ready", flush=True)
sys.stdin.readline()
try:
    report = sync(home, url, lambda _: None, root_path=root, pace=Pace(most=most))
except PocketRecError as err:
    sys.exit(str(err))
print(report.to_release, report.full_bytes)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder with a repository; its only release has some hundred kilobytes."""
    folder = tmp_path_factory.mktemp("interrupted")
    make_keys(folder / "keys")
    write_drawn_release(folder / "bundle", Drawn.of(2000, 16, 1), "one", answers=True)
    found_repository(folder / "repo", load_signers(folder / "keys"))
    publish(folder / "bundle", folder / "repo", load_signers(folder / "keys"), "stable")
    return folder


@pytest.fixture(scope="module")
def url(folder):
    """Address of a server that nothing happens to."""
    with command_line.server(folder / "repo", folder) as url:
        yield url


@pytest.fixture
def root(folder):
    return folder / "repo" / "metadata" / "1.root.json"


@pytest.fixture
def newest(folder):
    return sha256_file(folder / "bundle" / "manifest.json")


def device(home, url, root, most=100_000_000):
    """A device's process that waits for a line before it syncs."""
    words = [sys.executable, "-c", DEVICE, str(home), url, str(root), str(most)]
    pipe = subprocess.PIPE
    child = subprocess.Popen(words, text=True, stdin=pipe, stdout=pipe, stderr=pipe)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def wait_for(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.01)


def downloading(home):
    """Whether a file of the release has come in part."""
    return any(path.stat().st_size for path in (home / "store" / "files").glob(".*.part"))


def assert_current(home, newest):
    store = Store(home / "store")
    assert store.active() == (newest, None)
    assert store.open_active()[1] is None
    assert [path.name for path in store.files.glob(".*")] == []


def test_a_server_restarts_in_the_middle_of_ten_downloads(folder, root, newest, tmp_path):
    homes = [tmp_path / f"phone-{n}" for n in range(10)]
    retry = Retry(tries=40, first_s=0.05, most_s=0.2)
    port = command_line.free_port()
    with ThreadPoolExecutor(10) as pool:
        with command_line.server(folder / "repo", tmp_path, port=port) as url:
            running = [
                pool.submit(sync, h, url, lambda _: None, root_path=root, retry=retry, pace=SLOW)
                for h in homes
            ]
            wait_for(lambda: all(map(downloading, homes)))
            assert not any(each.done() for each in running)
        with command_line.server(folder / "repo", tmp_path, port=port):
            reports = [each.result() for each in running]
    assert {report.to_release for report in reports} == {newest}
    whole = {report.full_bytes for report in reports}
    assert max(whole) < 1.5 * min(whole)  # they went on where they were
    for home in homes:
        assert_current(home, newest)


def test_two_installers_at_once(url, root, newest, tmp_path):
    home = tmp_path / "phone"
    for _ in range(2):
        pair = [device(home, url, root, most=2_000_000) for _ in range(2)]
        for child in pair:
            child.stdin.write("\n")
            child.stdin.flush()
        ends = [(child.communicate(timeout=60), child.returncode) for child in pair]
        for (_, told), code in ends:
            assert code == 0 or "another sync is running" in told, told
        assert any(code == 0 for _, code in ends)
        assert_current(home, newest)
        shutil.rmtree(home / "store")


def test_a_killed_device_goes_on_where_it_was(url, root, newest, tmp_path):
    home = tmp_path / "phone"
    for _ in range(2):
        child = device(home, url, root, most=150_000)
        before = parts(home)
        child.stdin.write("\n")
        child.stdin.flush()
        wait_for(lambda before=before: parts(home) != before and downloading(home))
        child.send_signal(signal.SIGKILL)
        child.communicate()
        assert Store(home / "store").active() == (None, None)
    kept = sum(p.stat().st_size for p in (home / "store" / "files").iterdir())
    report = sync(home, url, lambda _: None)
    whole = sum(p.stat().st_size for p in (home / "store" / "files").iterdir())
    assert report.full_bytes == whole - kept
    assert_current(home, newest)


def test_a_server_killed_while_events_come_loses_none_and_keeps_none_twice(
    folder, url, root, tmp_path
):
    home, repo, now = tmp_path / "phone", folder / "repo", int(time.time())
    made = [
        Event(
            id=str(UUID(int=n)),
            kind="interaction",
            item_id="item",
            event="like",
            value=None,
            ts=now,
            context={},
        )
        for n in range(3000)
    ]
    sync(home, url, lambda _: None, root_path=root)
    with closing(EventLog(PhoneHome(home).event_log)) as log:
        log.set_consent(True)
        log.append_many(made)
    retry, faults, sent = Retry(tries=2, first_s=0.001, most_s=0.002), 0, 0
    lossy = Faults(share=0.3, kinds=("drop", "headers only"))
    for kill_after_s in (0.06, 0.15):
        with (
            command_line.server_process(repo, tmp_path) as (other, pid),
            FaultProxy(other, 1, lossy) as proxy,
        ):
            timer = threading.Timer(kill_after_s, os.kill, (pid, signal.SIGKILL))
            timer.start()
            with suppress(SyncError):
                report = sync(home, proxy.url, lambda _: None, retry=retry)
                faults += report.events_fault is not None
                sent += report.events_sent
            timer.join()
    report = sync(home, url, lambda _: None)
    assert faults > 0
    assert (report.events_fault, sent + report.events_sent) == (None, len(made))
    with closing(sqlite3.connect(repo / "server.sqlite")) as database:
        kept = [row[0] for row in database.execute("SELECT id FROM event")]
    assert sorted(kept) == sorted(event.id for event in made)


def parts(home: Path):
    """What has come so far: names and sizes."""
    folder = home / "store" / "files"
    return {p.name: p.stat().st_size for p in folder.iterdir()} if folder.exists() else {}
