"""The operator's guide names every route, metric and variable; its nginx configuration works."""

import os
import re
import shutil
import socket
import subprocess
import time
from dataclasses import fields

import pytest
import urllib3

from pocketrec_edge.sync.client import sync
from pocketrec_server import process
from pocketrec_server.app import create_app
from pocketrec_server.monitoring.files import ALERTS, content_of
from pocketrec_server.settings import Settings

GROUPS = ("/admin/", "/v1/admin/")


@pytest.fixture
def page(repository):
    return (repository / "docs" / "operator.md").read_text()


@pytest.fixture
def app(tmp_path):
    return create_app(Settings(repo=tmp_path / "repo", log_requests=False))


def test_every_route_is_in_the_table(page, app):
    named = set(re.findall(r"`(?:[A-Z]+ )?(/[^`]*)`", page))
    missing = [
        rule.rule
        for rule in app.url_map.iter_rules()
        if not rule.rule.startswith(GROUPS) and rule.rule.replace("<path:", "<") not in named
    ]
    assert missing == []
    assert {f"{group}..." for group in GROUPS} <= named


def test_every_metric_is_in_the_table(repository, app):
    page = (repository / "docs" / "server" / "monitoring.md").read_text()
    client = app.test_client()
    text = client.get("/metrics").text
    names = re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE)
    used = re.findall(r"pocketrec_\w+", content_of(ALERTS).decode())  # also of `pocketrec monitor`
    names += [re.sub(r"_(bucket|count)$", "", name) for name in used]
    assert len(names) > 5
    assert [n for n in names if not n.endswith("_created") and f"`{n}`" not in page] == []


def test_every_variable_is_in_the_table(page, repository):
    text = (repository / "sync_server" / "pocketrec_server" / "settings.py").read_text()
    names = {*re.findall(r'"(POCKETREC_\w+)"', text), process.METRICS_FOLDER}
    assert len(names) >= len(fields(Settings)) + 1
    assert [name for name in names if f"`{name}`" not in page] == []


def test_devices_sync_through_nginx_as_the_page_sets_it_up(page, tiny_repo, start_server, tmp_path):
    nginx = shutil.which("nginx")
    if nginx is None:
        pytest.skip("no nginx on the PATH")
    address, _ = start_server(tiny_repo, "--behind-proxy")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (server,) = re.findall(r"```nginx\n(.*?)```", page, re.DOTALL)
    server = server.replace("443 ssl", f"127.0.0.1:{port}").replace(
        "/srv/pocketrec/repo", str(tiny_repo)
    )
    server = re.sub(r"\n *ssl_certificate.*", "", server.replace("http://127.0.0.1:8080", address))
    config = tmp_path / "nginx.conf"
    temp = "".join(
        f"{name}_temp_path {tmp_path / name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""  # else its workers may not read our folders
    log = tmp_path / "nginx.log"
    config.write_text(
        f"{user} daemon off; pid {tmp_path / 'nginx.pid'}; error_log {log};"
        f"events {{}} http {{ access_log off; {temp} {server} }}"
    )
    child = subprocess.Popen([nginx, "-c", str(config), "-e", str(log)])
    try:
        through = f"http://127.0.0.1:{port}"
        root, home = tiny_repo / "metadata" / "1.root.json", tmp_path / "phone"
        wait_for(port)
        assert sync(home, through, lambda _: None, root_path=root).status == "updated"
        again = sync(home, through, lambda _: None)
        assert (again.status, again.requests) == ("current", 1)
        assert urllib3.request("GET", f"{through}/readyz").status == 200
        assert urllib3.request("GET", f"{through}/server.sqlite").status == 404
        blob = next((tiny_repo / "targets" / "files").iterdir()).name
        kept = urllib3.request("GET", f"{through}/targets/files/{blob}")
        assert "immutable" in kept.headers["Cache-Control"]
        stamp = urllib3.request("GET", f"{through}/metadata/timestamp.json")
        assert stamp.headers["Cache-Control"] == "no-cache"
        for reply in (kept, stamp, urllib3.request("GET", f"{through}/readyz")):
            assert reply.headers["Strict-Transport-Security"] == "max-age=31536000"
        for path in HIDDEN:
            assert urllib3.request("GET", f"{address}/metrics").status == 200
            assert raw_status(port, path) == 404, path
        statuses = [urllib3.request("GET", f"{through}/healthz").status for _ in range(100)]
        assert statuses[0] == 200 and 429 in statuses
        assert urllib3.request("GET", f"{through}/metadata/timestamp.json").status == 200
    finally:
        child.terminate()
        child.wait()


HIDDEN = (
    "/metrics",
    "/admin",
    "/admin/",
    "/admin/login",
    "/v1/admin/audit",
    "/x/../admin/login",
    "//admin/login",
    "/%61dmin/login",
    "/metadata/../metrics",
    "/./metrics?x",
)


def raw_status(port, path):
    """Status of a request whose path no client tidied up."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return int(client.recv(100).split()[1])


def wait_for(port):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
