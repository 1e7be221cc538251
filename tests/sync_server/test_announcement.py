"""What a server reports when it starts, and where its own address leads."""

import shutil

import pytest
import urllib3

from pocketrec_bundle.errors import InputError
from pocketrec_server.app import create_app
from pocketrec_server.auth import tokens
from pocketrec_server.repository.keys import load_signers, make_keys
from pocketrec_server.repository.publish import found_repository, halt, publish, read_policy
from pocketrec_server.serving import announcement
from pocketrec_server.settings import Settings, from_environment
from pocketrec_server.storage.database import default_url, open_database


def told(repo, *, keys=None, is_new=False):
    return list(announcement.lines(Settings(repo=repo, keys=keys), "::1", 80, is_new=is_new))


def online(tmp_path, *names):
    folder = tmp_path / "online"
    folder.mkdir()
    for name in names:
        shutil.copy(tmp_path / "keys" / f"{name}.pem", folder)
    return folder


def test_a_server_reports_where_it_listens_and_what_it_serves(tiny_repo, start_server, tmp_path):
    address, _ = start_server(tiny_repo, "--no-log")
    where, stable, beta, canary, signing, database = (
        (tmp_path / "server.out").read_text().splitlines()
    )
    assert where == f"serving {tiny_repo} at {address}, admin site {address}/admin/"
    assert stable == "channel stable: tiny for 100% of the devices"
    assert (beta, canary) == ("channel beta: no release", "channel canary: no release")
    assert "no --keys: cannot renew metadata (the timestamp expires in 7.0 days)" in signing
    assert "cannot halt" in signing
    assert f"database sqlite:///{tiny_repo / 'server.sqlite'}: created now" in database
    assert "pocketrec admin token make" in database
    reply = urllib3.request("GET", f"{address}/", redirect=False)
    assert (reply.status, reply.headers["Location"]) == (302, "/admin/")
    assert urllib3.request("GET", f"{address}/").status == 200


def test_shares_halts_keys_and_tokens_are_in_the_report(tiny_repo, renamed_release, tmp_path):
    signers = load_signers(tmp_path / "keys")
    publish(renamed_release("next"), tiny_repo, signers, "stable", percent=20)
    engine = open_database(default_url(tiny_repo))
    tokens.make(engine, "alice", "read", 1, 0)  # expired in 1970
    engine.dispose()
    keys = online(tmp_path, "snapshot", "timestamp", "canary")
    _, stable, *_, signing, database = told(tiny_repo, keys=keys)
    assert stable == "channel stable: next for 20% of the devices, tiny for 80% of the devices"
    assert signing == (
        f"--keys {keys}: renews metadata, changes the policy of canary, "
        "cannot halt releases: no brake.pem"
    )
    assert "0 events, no operator token yet" in database
    _, _, _, _, _, offline, _ = told(tiny_repo, keys=tmp_path / "keys")
    assert "root-1, root-2, root-3, targets should be offline" in offline
    for stage in read_policy(tiny_repo, "stable").releases:
        halt(tiny_repo, signers, "stable", stage.manifest, "fails")
    engine = open_database(default_url(tiny_repo))
    tokens.make(engine, "alice", "read", 1, 4_000_000_000)
    engine.dispose()
    where, stable, *_, database = told(tiny_repo)
    assert "at http://[::1]:80," in where
    assert stable == "channel stable: no release is offered, the newest is halted"
    assert "1 operator tokens" in database


def test_a_server_before_the_first_publish_says_what_to_do(tmp_path):
    assert "`pocketrec repo init`" in told(tmp_path, is_new=True)[1]


def test_a_damaged_repository_is_named_and_the_server_serves_what_is_there(tiny_repo):
    path = tiny_repo / "metadata" / "timestamp.json"
    path.write_bytes(path.read_bytes().replace(b'"expires":"2', b'"expires":"3'))
    assert "releases cannot be read:" in told(tiny_repo)[1]
    assert "damaged" in told(tiny_repo)[1]


def test_a_folder_of_something_else_is_refused_by_any_server(tiny_release, tmp_path):
    for folder, why in (
        (tiny_release, r"no repository, it holds files, manifest\.json\. Check --repo"),
        (tmp_path / "rep", "no such folder"),
        (tiny_release / "manifest.json", "is a file"),
    ):
        with pytest.raises(InputError, match=why):
            from_environment({"POCKETREC_REPO": str(folder)})


def test_what_a_server_left_in_an_empty_folder_is_in_nobodys_way(tmp_path):
    """A server may start before its repository is founded."""
    repo = tmp_path / "repo"
    repo.mkdir()
    create_app(Settings(repo=repo, log_requests=False))
    make_keys(tmp_path / "keys")
    found_repository(repo, load_signers(tmp_path / "keys"))
    app = create_app(Settings(repo=repo, log_requests=False))
    assert app.test_client().get("/").status_code == 302
