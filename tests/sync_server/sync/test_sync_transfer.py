"""Transfers that break off, against a server that breaks them off; waits are noted, not waited."""

import gzip
import json
import subprocess
import sys
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import urllib3
from tuf.api.exceptions import DownloadError, DownloadHTTPError

from benchmarks.support import command_line
from benchmarks.support.drawn_release import Drawn, write_drawn_release
from pocketrec.cli import main
from pocketrec_bundle.reader import open_bundle
from pocketrec_edge.errors import SyncError
from pocketrec_edge.sync.client import sync
from pocketrec_edge.sync.http import Network
from pocketrec_edge.sync.transfer import Retry, Transfer
from pocketrec_server.repository.keys import load_signers, make_keys
from pocketrec_server.repository.publish import found_repository, publish, read_policy

HALF = 60_000
GO_ON = 206


class FragileServer(ThreadingHTTPServer):
    """How often it breaks off, whether it answers ranges, how far they are off, what it answers."""

    def __init__(self, folder) -> None:
        super().__init__(("127.0.0.1", 0), partial(Fragile, directory=folder))
        self.breaks, self.ranges, self.shift = 0, True, 0
        self.status: list[int] = []
        self.asked: list[str | None] = []
        self.on_break: Callable[[], object] = lambda: None
        self.url = f"http://127.0.0.1:{self.server_port}"


class Fragile(SimpleHTTPRequestHandler):
    """Breaks off after HALF bytes of a release's file, as often as `server.breaks` says."""

    server: FragileServer

    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        path = Path(self.translate_path(self.path))
        if "/files/" not in self.path:
            return super().do_GET()
        data, begin = path.read_bytes(), 0
        server.asked.append(self.headers.get("Range"))
        if server.status and (status := server.status.pop(0)):
            return self.send_error(status)
        if (told := self.headers.get("Range")) and server.ranges:
            begin = int(told.removeprefix("bytes=").removesuffix("-"))
            self.send_response(GO_ON)
            at = begin + server.shift
            self.send_header("Content-Range", f"bytes {at}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        rest = data[begin:]
        if len(rest) > HALF and server.breaks:
            server.breaks -= 1
            self.wfile.write(rest[:HALF])
            self.wfile.flush()
            server.on_break()
            self.close_connection = True
            return None
        self.wfile.write(rest)
        return None


@pytest.fixture(scope="module")
def repo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fragile")
    make_keys(folder / "keys")
    write_drawn_release(folder / "bundle", Drawn.of(3000, 16, 1), "one", answers=True)
    found_repository(folder / "repo", load_signers(folder / "keys"))
    publish(folder / "bundle", folder / "repo", load_signers(folder / "keys"), "stable")
    return folder / "repo"


@pytest.fixture(scope="module")
def files(repo):
    """Entries by hash; one file alone exceeds HALF bytes."""
    manifest = open_bundle(repo.parent / "bundle").manifest
    found = {entry.sha256: entry for entry in manifest.files}
    assert sum(entry.bytes > HALF for entry in found.values()) == 1
    return found


@pytest.fixture
def fragile(repo):
    server = FragileServer(repo)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class Go:
    """Syncs a phone; `waits` are the seconds that it would have waited."""

    def __init__(self, repo, url, home):
        self.root, self.url, self.home = repo / "metadata" / "1.root.json", url, home
        self.waits: list[float] = []

    def __call__(self, tries=1):
        retry = Retry(tries=tries, sleep=self.waits.append, random=lambda: 0.5)
        return sync(self.home, self.url, lambda _: None, root_path=self.root, retry=retry)


@pytest.fixture
def go(repo, fragile, tmp_path):
    return Go(repo, fragile.url, tmp_path / "phone")


def parts(tmp_path):
    return list((tmp_path / "phone" / "store" / "files").glob(".*.part"))


def test_the_next_sync_asks_for_the_rest_only(fragile, go, files, tmp_path):
    fragile.breaks = 1
    with pytest.raises(SyncError, match="The release on this phone stays"):
        go()
    (part,) = parts(tmp_path)
    kept = part.stat().st_size
    entry = files[part.name[1:-5]]
    assert 0 < kept <= HALF
    others = {path.name for path in part.parent.iterdir()} - {part.name}
    assert others <= files.keys()  # nothing half-written has a file's name
    missing = sum(e.bytes for e in files.values() if e.sha256 not in others)
    fragile.asked.clear()
    report = go()
    assert f"bytes={kept}-" in fragile.asked
    assert report.full_bytes == missing - kept
    assert (report.status, parts(tmp_path)) == ("updated", [])
    assert entry.bytes > HALF


def test_within_one_sync_a_transfer_goes_on_after_a_wait(fragile, go, files):
    fragile.breaks = 2
    report = go(tries=4)
    assert report.full_bytes == sum(entry.bytes for entry in files.values())
    assert go.waits == [0.5 * 0.25, 0.5 * 0.5]
    assert Counter(map(bool, fragile.asked)) == {False: len(files), True: 2}


def test_a_server_without_ranges_sends_all_again(fragile, go, files):
    fragile.breaks, fragile.ranges = 1, False
    report = go(tries=2)
    whole = sum(entry.bytes for entry in files.values())
    assert whole < report.full_bytes <= whole + HALF


def test_a_server_that_sends_another_part_is_asked_for_the_whole(fragile, go, files):
    fragile.breaks, fragile.shift = 1, 7
    assert go(tries=3).status == "updated"
    assert sum(map(bool, fragile.asked)) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(fragile, go, status):
    fragile.status = [status, status]
    assert go(tries=3).status == "updated"
    assert len(go.waits) == 2


def test_a_missing_file_is_not_asked_for_again(fragile, go):
    fragile.status = [404]
    with pytest.raises(SyncError, match="404"):
        go(tries=4)
    assert (go.waits, len(fragile.asked)) == ([], 1)


def test_a_part_that_was_changed_on_the_phone_is_fetched_anew(fragile, go, files, tmp_path):
    fragile.breaks = 1
    with pytest.raises(SyncError):
        go()
    (part,) = parts(tmp_path)
    part.write_bytes(bytes(part.stat().st_size))
    entry = files[part.name[1:-5]]
    here = sum(e.bytes for e in files.values() if (part.parent / e.sha256).exists())
    report = go()
    assert report.status == "updated"
    rest = entry.bytes - min(HALF, entry.bytes)
    whole = sum(e.bytes for e in files.values()) - here
    assert whole + rest <= report.full_bytes <= whole + entry.bytes


CHILD = """
import sys
from pathlib import Path
from pocketrec_edge.sync.client import sync
sync(Path(sys.argv[1]), sys.argv[2], lambda _: None, root_path=Path(sys.argv[3]))
"""


def test_a_killed_process_leaves_what_came_to_the_next_one(fragile, go, files, repo, tmp_path):
    killed = threading.Event()
    fragile.breaks, fragile.on_break = 1, lambda: killed.wait(30)
    words = [sys.executable, "-c", CHILD, str(tmp_path / "phone"), fragile.url]
    child = subprocess.Popen([*words, str(repo / "metadata" / "1.root.json")])
    end = time.monotonic() + 30
    while time.monotonic() < end and not any(p.stat().st_size for p in parts(tmp_path)):
        time.sleep(0.01)
    child.kill()
    child.wait()
    killed.set()
    (part,) = parts(tmp_path)
    kept = part.stat().st_size
    assert 0 < kept <= HALF
    fragile.asked.clear()
    assert go().status == "updated"
    assert f"bytes={kept}-" in fragile.asked


def test_waits_double_up_to_a_limit_and_end():
    waits: list[float] = []
    retry = Retry(tries=6, first_s=1.0, most_s=4.0, sleep=waits.append, random=lambda: 0.5)

    def fail():
        raise DownloadError("gone")

    with pytest.raises(DownloadError, match="gone"):
        retry.run(fail)
    assert waits == [0.5, 1.0, 2.0, 2.0, 2.0]

    def refuse():
        raise DownloadHTTPError("no", 403)

    waits.clear()
    with pytest.raises(DownloadHTTPError):
        retry.run(refuse)
    assert waits == []


def test_the_server_answers_parts_and_hashes(repo, files, tmp_path):
    entry = max(files.values(), key=lambda each: each.bytes)
    data = (repo.parent / "bundle" / "files" / entry.sha256).read_bytes()
    with command_line.server(repo, tmp_path) as url:
        address = f"{url}/targets/files/{entry.sha256}.{entry.sha256}"
        whole = urllib3.request("GET", address)
        assert (whole.status, whole.data) == (200, data)
        assert whole.headers["ETag"] == f'"{entry.sha256}"'
        assert {"public", "immutable", "max-age=31536000"} <= set(
            whole.headers["Cache-Control"].split(", ")
        )
        part = urllib3.request("GET", address, headers={"Range": "bytes=1000-"})
        assert (part.status, part.data) == (206, data[1000:])
        assert part.headers["Content-Range"] == f"bytes 1000-{len(data) - 1}/{len(data)}"
        known = {"If-None-Match": f'"{entry.sha256}"'}
        assert urllib3.request("GET", address, headers=known).status == 304
        beyond = {"Range": f"bytes={len(data)}-"}
        assert urllib3.request("GET", address, headers=beyond).status == 416
        sha = read_policy(repo, "stable").releases[0].manifest
        manifest = urllib3.request("GET", f"{url}/targets/channels/stable/{sha}.{sha}.json")
        assert json.loads(manifest.data)["name"] == "one"


def test_metadata_comes_compressed_and_counts_as_it_travels(repo, tmp_path):
    with command_line.server(repo, tmp_path) as url:
        report = sync(
            tmp_path / "phone", url, lambda _: None, root_path=repo / "metadata" / "1.root.json"
        )
    plain = sum(path.stat().st_size for path in (repo / "metadata").iterdir())
    assert 0 < report.metadata_bytes < plain


BOMB = gzip.compress(bytes(100 << 20))


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (BOMB[:10] + b"\0\0\0\xff\xff" * (1 << 20), "larger than its content"),
        (BOMB, "exceeding"),
        (BOMB[:50], "its gzip is incomplete"),
        (b"not gzip at all", "not valid gzip"),
        (gzip.compress(b"{}") + bytes(50), "extra bytes follow"),
    ],
    # The bytes hold the second they were made in: as ids, two workers would disagree on them.
    ids=["empty blocks", "zeros", "cut off", "text", "more behind"],
)
def test_compressed_metadata_is_bounded_and_checked(sent, said):
    class Packed(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(sent)

    with ThreadingHTTPServer(("127.0.0.1", 0), Packed) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        transfer = Transfer(Retry(tries=1), Network())
        tracemalloc.start()
        with pytest.raises(DownloadError, match=said):
            transfer.download_bytes(f"http://127.0.0.1:{server.server_port}/x", 100_000)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
        tracemalloc.stop()
        server.shutdown()
        thread.join()


def test_the_cap_of_the_command(repo, tmp_path, runner, monkeypatch):
    paces = []

    def noted(pace, source_address):
        paces.append(pace)
        return Network(pace, source_address)

    monkeypatch.setattr("pocketrec_edge.sync.client.Network", noted)
    words = ["device", "sync", "--home", str(tmp_path / "phone"), "--max-rate", "250000"]
    with command_line.server(repo, tmp_path) as url:
        words += ["--server", url, "--root", str(repo / "metadata" / "1.root.json"), "--json"]
        runner.invoke(main, words)
    assert [pace.most for pace in paces] == [250_000]
