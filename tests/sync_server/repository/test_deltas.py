"""Deltas from publish to phone, counted, and attacked by a publisher's own mistakes."""

import json
import lzma
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from benchmarks.support.drawn_release import Drawn, write_drawn_release
from pocketrec.cli import main
from pocketrec_bundle.encoding.delta import make_delta
from pocketrec_bundle.reader import open_bundle
from pocketrec_edge.releases.store import Store
from pocketrec_edge.sync.client import sync
from pocketrec_server.repository import deltas, state
from pocketrec_server.repository import publish as repository
from pocketrec_server.repository.keys import load_signers, make_keys
from pocketrec_server.repository.publish import found_repository, publish

N = 3000


def accept(bundle) -> None:
    """A self-test that looks at the release and accepts it."""
    assert bundle.item_count == N


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def releases(tmp_path_factory):
    """Folders of three releases: prices of 1% of the items change, then rows of 1% of them."""
    folder = tmp_path_factory.mktemp("drawn")
    first = Drawn.of(N, 16, 1)
    second = first.with_prices(0.01, 2)
    third = second.with_rows(0.01, 3)
    base = None
    for name, items in {"one": first, "two": second, "three": third}.items():
        write_drawn_release(folder / name, items, name, base, answers=True)
        base = open_bundle(folder / name)
    return [folder / name for name in ("one", "two", "three")]


@pytest.fixture
def signers(tmp_path):
    make_keys(tmp_path / "keys")
    return load_signers(tmp_path / "keys")


@pytest.fixture
def repo(tmp_path, signers):
    found_repository(tmp_path / "repo", signers)
    return tmp_path / "repo"


@pytest.fixture
def go(repo, tmp_path):
    """Return a function that syncs a phone with a server of the repository's files."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=repo))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"

    def run(home="phone"):
        return sync(tmp_path / home, url, accept, root_path=repo / "metadata" / "1.root.json")

    yield run
    server.shutdown()
    thread.join()
    server.server_close()


def entries(folder):
    return {entry.name: entry for entry in open_bundle(folder).manifest.files}


def differing(old, new):
    """Names of the files that two releases do not share."""
    before, after = entries(old), entries(new)
    return {name for name in after if before[name].sha256 != after[name].sha256}


def targets_of(repo, kind, channel="stable"):
    """Targets that a channel signs now, by path after the channel's name."""
    named = state.load(repo).targets[channel].targets
    names = {path.removeprefix(f"channels/{channel}/"): each for path, each in named.items()}
    return {name: each for name, each in names.items() if name.startswith(kind)}


def test_a_phone_two_releases_behind_takes_deltas_and_bytes_are_counted(
    releases, repo, signers, go
):
    publish(releases[0], repo, signers, "stable")
    first = go()
    whole = sum({e.sha256: e.bytes for e in entries(releases[0]).values()}.values())
    assert (first.full_bytes, first.delta_bytes, first.files_by_delta) == (whole, 0, 0)
    publish(releases[1], repo, signers, "stable")
    report = publish(releases[2], repo, signers, "stable")
    second = go()
    names = differing(releases[0], releases[2])
    assert {"index/rows", "catalogue.sqlite"} <= names
    assert (second.files_fetched, second.files_by_delta) == (len(names), len(names))
    assert (second.full_bytes, second.status) == (0, "updated")
    assert second.bytes_down == second.metadata_bytes + second.delta_bytes
    assert second.delta_bytes <= report.delta_bytes
    changed = 30 * 16 + 30 * 4  # rows and prices
    assert changed < second.delta_bytes < sum(entries(releases[2])[n].bytes for n in names) / 10
    again = go()
    assert (again.status, again.bytes_down) == ("current", again.metadata_bytes)
    assert again.requests == 1
    assert again.bytes_down <= 2000


def test_a_release_of_prices_alone_moves_prices_alone(releases, repo, signers, go):
    publish(releases[0], repo, signers, "stable")
    go()
    publish(releases[1], repo, signers, "stable")
    assert "index/rows" not in differing(releases[0], releases[1])
    assert go().delta_bytes < 30 * 100  # 30 prices, in the catalogue and in a column


def test_deltas_are_signed_kept_for_the_last_releases_and_then_removed(
    releases, repo, signers, tmp_path
):
    publish(releases[0], repo, signers, "stable", keep=1)
    publish(releases[1], repo, signers, "stable", keep=1)
    found = targets_of(repo, "deltas/")
    first, second = entries(releases[0]), entries(releases[1])
    names = differing(releases[0], releases[1])
    wanted = {f"deltas/{second[n].sha256}.{first[n].sha256}": n for n in names}
    assert found.keys() == wanted.keys()
    assert {target.custom["form"] for target in found.values()} <= {"copy", "difference"}
    publish(releases[2], repo, signers, "stable", keep=1)
    now = targets_of(repo, "deltas/")
    third = entries(releases[2])
    ours = {entry.sha256 for entry in third.values()}
    made = found.keys() | {
        f"deltas/{third[n].sha256}.{second[n].sha256}" for n in differing(releases[1], releases[2])
    }
    assert now.keys() == {path for path in made if path[7:71] in ours}  # a price's file stays
    on_disk = {path.name for path in blobs(repo)}
    assert on_disk == {f"{t.hashes['sha256']}.{p.partition('/')[2]}" for p, t in now.items()}
    publish(releases[1], repo, signers, "beta", keep=0)
    assert targets_of(repo, "deltas/") == now  # those of the other channel stay
    publish(releases[0], repo, signers, "stable", keep=0)
    assert targets_of(repo, "deltas/") == {}
    assert blobs(repo) == []


def test_a_delta_is_made_once_and_only_if_it_is_worth_it(releases, repo, signers, monkeypatch):
    made = []

    def counted(old, new):
        made.append(1)
        return make_delta(old, new)

    monkeypatch.setattr(deltas, "make_delta", counted)
    publish(releases[0], repo, signers, "stable")
    publish(releases[1], repo, signers, "stable")
    n = len(made)
    assert n == len(differing(releases[0], releases[1]))
    publish(releases[0], repo, signers, "beta")
    publish(releases[1], repo, signers, "beta")
    assert len(made) == n
    assert len(blobs(repo, "beta")) == len(blobs(repo)) > 0
    monkeypatch.setattr(deltas, "WORTH", 0.0)
    publish(releases[2], repo, signers, "stable")
    rows = entries(releases[2])["index/rows"].sha256
    assert not [name for name in targets_of(repo, "deltas/") if name.startswith(f"deltas/{rows}")]


ATTACKS = {
    "random bytes": lambda old, new: ("copy", np.random.default_rng(1).bytes(300)),
    "cut short": lambda old, new: ("copy", make_delta(old, new)[1][:-20]),
    "of another base": lambda old, new: make_delta(bytes(old[64:]) + bytes(64), new),
    "of another file": lambda old, new: make_delta(old, bytes(len(new))),
    "of another size": lambda old, new: make_delta(old, bytes(new) + b"x"),
    "a bomb": lambda old, new: ("copy", lzma.compress(bytes(64 << 20), preset=0)),
    "unknown form": lambda old, new: ("patch", make_delta(old, new)[1]),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_delta_that_does_not_fit_is_refused_and_the_whole_file_comes(
    releases, repo, signers, go, monkeypatch, attack
):
    publish(releases[0], repo, signers, "stable")
    go()
    monkeypatch.setattr(deltas, "make_delta", ATTACKS[attack])
    monkeypatch.setattr(deltas, "WORTH", 1e9)
    assert publish(releases[2], repo, signers, "stable").deltas
    names = differing(releases[0], releases[2])
    report = go()
    assert (report.status, report.files_by_delta) == ("updated", 0)
    assert report.full_bytes == sum(entries(releases[2])[n].bytes for n in names)


@pytest.mark.parametrize("custom", [{"form": "patch"}, {"form": ["copy"]}, {}, "none"])
def test_a_delta_of_no_known_form_is_not_even_fetched(
    releases, repo, signers, go, monkeypatch, custom
):
    make = deltas._make

    def wrong(*args):
        if target := make(*args):
            target.unrecognized_fields["custom"] = custom
        return target

    publish(releases[0], repo, signers, "stable")
    go()
    monkeypatch.setattr(deltas, "_make", wrong)
    assert publish(releases[2], repo, signers, "stable").deltas
    report = go()
    assert (report.status, report.files_by_delta, report.delta_bytes) == ("updated", 0, 0)


def blobs(repo, channel="stable"):
    return sorted((repo / "targets" / "channels" / channel / "deltas").iterdir())


def swap(repo):
    one, two = blobs(repo)[:2]
    data = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(data)


SERVER = {
    "gone": lambda repo: [path.unlink() for path in blobs(repo)],
    "cut short": lambda repo: [path.write_bytes(path.read_bytes()[:-1]) for path in blobs(repo)],
    "changed": lambda repo: [
        path.write_bytes(path.read_bytes()[:-1] + b"?") for path in blobs(repo)
    ],
    "endless": lambda repo: [
        path.write_bytes(path.read_bytes() + bytes(9999)) for path in blobs(repo)
    ],
    "swapped": swap,
}


@pytest.mark.parametrize("case", SERVER)
def test_a_delta_that_the_server_damaged_costs_no_more_than_the_whole_file(
    releases, repo, signers, go, case
):
    publish(releases[0], repo, signers, "stable")
    go()
    publish(releases[2], repo, signers, "stable")
    SERVER[case](repo)
    report = go()
    assert report.status == "updated"
    assert report.files_fetched > report.files_by_delta
    assert report.full_bytes > 0


def test_a_damaged_base_is_noticed_and_the_whole_file_comes(releases, repo, signers, go, tmp_path):
    publish(releases[0], repo, signers, "stable")
    go()
    publish(releases[2], repo, signers, "stable")
    path = tmp_path / "phone" / "store" / "files" / entries(releases[0])["index/rows"].sha256
    path.chmod(0o644)
    path.write_bytes(bytes(path.stat().st_size))
    report = go()
    assert report.full_bytes == entries(releases[2])["index/rows"].bytes
    assert report.files_by_delta == report.files_fetched - 1
    left = [each.name for each in path.parent.iterdir() if each.name.startswith(".")]
    assert left == []
    assert Store(tmp_path / "phone" / "store").open_active()[1] is None


def test_a_repository_without_history_or_old_files_is_published_to(
    releases, repo, signers, monkeypatch
):
    publish(releases[0], repo, signers, "stable")
    for path in (repo / "targets" / "files").iterdir():
        path.unlink()
    report = publish(releases[1], repo, signers, "stable")
    assert (report.changed, report.deltas) == (True, 0)
    for stage in repository.read_policy(repo, "stable").releases:
        if stage.name == "one":
            sha = stage.manifest
            (repo / "targets" / "channels" / "stable" / f"{sha}.{sha}.json").unlink()
    assert publish(releases[2], repo, signers, "stable").deltas


def test_the_history_of_a_channel_has_each_release_once_newest_first(releases, repo, signers):
    for at in (0, 1, 0, 2, 2):
        publish(releases[at], repo, signers, "stable", keep=repository.KEEP)
    policy = repository.read_policy(repo, "stable")
    assert [stage.name for stage in policy.releases] == ["three", "one", "two"]
    named = {f"{stage.manifest}.json" for stage in policy.releases}
    assert targets_of(repo, "").keys() - targets_of(repo, "deltas/").keys() == {
        "policy.json",
        *named,
    }


def test_by_the_commands(releases, repo, signers, tmp_path, runner):
    words = ["--repo", str(repo), "--keys", str(tmp_path / "keys"), "--json"]
    words.append("--no-self-test")  # its golden vectors are drawn, not answered
    for folder, told in ((releases[0], []), (releases[1], []), (releases[2], ["--deltas", "0"])):
        done = runner.invoke(main, ["publish", str(folder), *words, *told])
        assert done.exit_code == 0, done.stderr
        found = json.loads(done.stdout)
        assert bool(found["deltas"]) == (folder == releases[1])
        assert bool(found["delta_bytes"]) == (folder == releases[1])
