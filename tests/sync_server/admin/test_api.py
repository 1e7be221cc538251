"""The admin API: scopes, what it tells, what it does, and what it refuses."""

import time

import pytest

from pocketrec_edge.sync.client import sync
from pocketrec_export.conformance.tiny_bundle import write_tiny_bundle
from pocketrec_server.app import create_app
from pocketrec_server.auth import tokens
from pocketrec_server.repository.keys import load_signers
from pocketrec_server.repository.publish import publish, read_policy
from pocketrec_server.settings import Settings
from pocketrec_server.storage.database import default_url, open_database


@pytest.fixture
def client_of(tiny_repo, tmp_path):
    """Return a function: scope -> client that sends a token of it; "" sends none."""
    app = create_app(Settings(repo=tiny_repo, keys=tmp_path / "keys", log_requests=False))
    engine = open_database(default_url(tiny_repo))

    def make(scope, days=5, made=None):
        client = app.test_client()
        if scope:
            text, _ = tokens.make(engine, "robot", scope, days, made or int(time.time()))
            client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {text}"
        return client

    return make


def action(client, manifest, **more):
    body = {"action": "pause", "manifest": manifest} | more
    return client.post("/v1/admin/channels/stable/actions", json=body)


def test_a_token_is_needed_and_must_be_good(client_of):
    for path in ("channels", "audit", "figures"):
        refused = client_of("").get(f"/v1/admin/{path}")
        assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert client_of("read", days=1, made=1000).get(f"/v1/admin/{path}").status_code == 401
        assert client_of("read").get(f"/v1/admin/{path}").status_code == 200


def test_who_reads_may_not_operate(client_of, tiny_repo):
    manifest = read_policy(tiny_repo, "stable").releases[0].manifest
    assert action(client_of(""), manifest).status_code == 401
    assert action(client_of("read"), manifest).status_code == 403
    assert read_policy(tiny_repo, "stable").releases[0].state == "active"
    done = action(client_of("operate"), manifest)
    assert done.status_code == 200
    assert read_policy(tiny_repo, "stable").releases[0].state == "paused"
    (entry,) = client_of("read").get("/v1/admin/audit").json["entries"]
    assert entry["number"] == done.json["audit"]
    assert (entry["actor"], entry["action"], entry["outcome"]) == ("robot", "pause", "done")
    assert entry["subject"] == f"stable {manifest}"


def test_channels_tell_what_an_update_weighs(client_of, tiny_repo, tmp_path):
    second = write_tiny_bundle(tmp_path / "second", answers=True, name="second")
    publish(tmp_path / "second", tiny_repo, load_signers(tmp_path / "keys"), "stable", percent=5)
    channels = client_of("read").get("/v1/admin/channels").json["channels"]
    assert [each["channel"] for each in channels] == ["stable", "beta", "canary"]
    new, old = channels[0]["releases"]
    assert (new["name"], new["percent"], new["state"]) == ("second", 5, "active")
    assert new["full_bytes"] == old["full_bytes"] == second.total_bytes()
    # The same files under another name: nothing to download but the manifest itself.
    assert (new["update_bytes"], old["update_bytes"]) == (0, None)
    assert channels[1]["releases"] == []


def test_an_update_weighs_what_a_device_downloads(client_of, tiny_repo, start_server, tmp_path):
    address, _ = start_server(tiny_repo)
    home, root = tmp_path / "phone", tiny_repo / "metadata" / "1.root.json"
    sync(home, address, lambda _: None, root_path=root)
    write_tiny_bundle(tmp_path / "second", answers=True, name="second", rules=None)
    publish(tmp_path / "second", tiny_repo, load_signers(tmp_path / "keys"), "stable")
    report = sync(home, address, lambda _: None)
    told = client_of("read").get("/v1/admin/channels").json["channels"][0]["releases"][0]
    assert told["update_bytes"] == report.full_bytes + report.delta_bytes


def test_figures_count_what_a_real_sync_moved(client_of, tiny_repo, start_server, tmp_path):
    address, child = start_server(tiny_repo)
    root = tiny_repo / "metadata" / "1.root.json"
    report = sync(tmp_path / "phone", address, lambda _: None, root_path=root, consent=True)
    child.terminate()
    child.wait(30)  # it stores what it counted
    found = client_of("read").get("/v1/admin/figures").json
    assert len(found["days"]) == 30
    today = found["served"][-1]
    assert today["full"]["bytes"] == report.full_bytes
    moved = today["metadata"]["bytes"] + today["release"]["bytes"]
    assert moved == report.metadata_bytes
    (told,) = found["outcomes"]
    assert (told["outcome"], told["devices"][-1]) == ("installed", 1)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"action": "explode"}, 400),
        ({"action": "percent"}, 400),
        ({"action": "percent", "percent": True}, 400),
        ({"percent": 5}, 400),
        ({"reason": 5}, 400),
        ({"unknown": 1}, 400),
        ({"manifest": "A" * 64}, 400),
        ({"manifest": "a" * 64}, 409),
    ],
)
def test_odd_actions_are_refused(client_of, tiny_repo, body, status):
    manifest = read_policy(tiny_repo, "stable").releases[0].manifest
    refused = action(client_of("operate"), **({"manifest": manifest} | body))
    assert refused.status_code == status
    assert refused.json["error"]
    assert read_policy(tiny_repo, "stable").releases[0].state == "active"


def test_odd_queries_are_refused(client_of):
    client = client_of("read")
    for query in ("before=0", "before=x", "most=1001", "most=-1", f"before={2**40}"):
        assert client.get(f"/v1/admin/audit?{query}").status_code == 400
