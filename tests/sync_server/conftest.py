"""A published release, real servers over it, and empty databases, for every test of the room."""

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from pocketrec_export.conformance.tiny_bundle import write_tiny_bundle
from pocketrec_server.app import create_app
from pocketrec_server.auth import tokens
from pocketrec_server.repository.keys import load_signers, make_keys
from pocketrec_server.repository.publish import found_repository, publish, read_policy
from pocketrec_server.settings import Settings
from pocketrec_server.storage.database import connect, default_url, open_database, upgrade

_numbers = itertools.count()


@pytest.fixture(scope="session")
def repository_of(tmp_path_factory):
    """Return a function: bundle, folder -> (repository, signers) with the bundle on stable.

    The repository of a bundle is founded once, in a folder from which `keys` and `repo` are copied.
    """
    founded = {}

    def copied(bundle, folder):
        if bundle not in founded:
            home = tmp_path_factory.mktemp("founded")
            make_keys(home / "keys")
            found_repository(home / "repo", load_signers(home / "keys"))
            assert publish(bundle, home / "repo", load_signers(home / "keys"), "stable").changed
            founded[bundle] = home
        shutil.copytree(founded[bundle], folder, dirs_exist_ok=True)
        return folder / "repo", load_signers(folder / "keys")

    return copied


@pytest.fixture
def published(small_release, repository_of, tmp_path):
    """(repository, signers) with the small release on channel stable."""
    return repository_of(small_release, tmp_path)


@pytest.fixture
def founded(named_releases, repository_of, tmp_path):
    """(repository, signers) with a tiny release on channel stable."""
    return repository_of(named_releases[0], tmp_path)


@pytest.fixture
def tiny_repo(tiny_release, repository_of, tmp_path):
    """A repository with the tiny release on channel stable; its keys are in `keys` beside it."""
    return repository_of(tiny_release, tmp_path)[0]


@pytest.fixture
def renamed_release(tiny_release, tmp_path):
    """Return a function that makes the tiny release under another name: its folder."""

    def make(name):
        folder = tmp_path / f"release-{name}"
        shutil.copytree(tiny_release, folder)
        manifest = json.loads((folder / "manifest.json").read_bytes())
        (folder / "manifest.json").write_text(json.dumps(manifest | {"name": name}))
        return folder

    return make


@pytest.fixture
def static_server():
    """Return a function that serves a folder as a plain static file server would.

    (folder, asked) -> its address, as a context; the paths that come in are added to `asked`.
    """

    @contextmanager
    def serve(folder, asked=None):
        handler = partial(Static, directory=folder, asked=[] if asked is None else asked)
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    return serve


class Static(SimpleHTTPRequestHandler):
    def __init__(self, *args, asked, **kwargs):
        self.asked = asked
        super().__init__(*args, **kwargs)

    def do_GET(self):
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def start_server(server_forks, tmp_path):
    """Return a function that starts `pocketrec serve` over a repository; all end after the test.

    (repo, *options) -> its address and its process. Its log is `tmp_path / "server.log"`,
    and what it prints is in `server.out`. Several workers must import the server themselves.
    """
    children: list[subprocess.Popen[bytes]] = []

    def start(repo, *options):
        port_file = tmp_path / f"port-{len(children)}"
        words = ["serve", "--repo", repo, "--port", "0", "--port-file", port_file, *options]
        words = list(map(str, words))
        log, out = tmp_path / "server.log", tmp_path / "server.out"
        if "--workers" in words:
            with log.open("ab") as err, out.open("ab") as printed:
                child = subprocess.Popen(
                    [sys.executable, "-m", "pocketrec", *words],
                    stdout=printed,
                    stderr=err,
                    env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
                )
        else:
            child = server_forks.start(*words, out=out, err=log)
        children.append(child)
        end = time.monotonic() + 60
        while not port_file.exists() and child.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        return f"http://127.0.0.1:{port_file.read_text()}", child

    yield start
    for child in children:
        child.terminate()
    for child in children:
        child.wait()


@pytest.fixture(scope="session")
def postgres():
    """URL of a real PostgreSQL cluster of this session, on a socket in a folder of its own."""
    places = [
        *os.environ["PATH"].split(os.pathsep),
        *map(str, Path("/usr/lib/postgresql").glob("*/bin")),
    ]
    initdb, program = (
        shutil.which(name, path=os.pathsep.join(places)) for name in ("initdb", "postgres")
    )
    if not (initdb and program):
        pytest.skip("no initdb and postgres, on the PATH or in /usr/lib/postgresql")
    user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="pocketrec-pg-"))
    if user:
        shutil.chown(folder, user)
    data = folder / "data"
    words: list[str | Path] = [initdb, "-D", data, "-U", "postgres", "--auth=trust", "--no-sync"]
    subprocess.run(words, user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    words = [program, "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(words, user=user, cwd=folder, stdout=log, stderr=log)
    url = f"postgresql://postgres@/postgres?host={folder}"
    try:
        _wait_for(url)
        yield url
    finally:
        child.send_signal(signal.SIGINT)  # SIGTERM would wait for every client
        child.wait()
        shutil.rmtree(folder)


def _wait_for(url):
    engine = connect(url)
    end = time.monotonic() + 60
    while True:
        try:
            engine.connect().close()
        except OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request, tmp_path):
    """URL of a database without a table, on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'server.sqlite'}"
    admin = request.getfixturevalue("postgres")
    name = f"test_{next(_numbers)}"
    engine = create_engine(
        admin.replace("postgresql:", "postgresql+psycopg:"),
        isolation_level="AUTOCOMMIT",
        poolclass=NullPool,
    )
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    return admin.replace("/postgres?", f"/{name}?")


@pytest.fixture
def engine(empty_url):
    """A database with the present tables, on SQLite and on PostgreSQL."""
    engine = connect(empty_url)
    upgrade(engine)
    yield engine
    engine.dispose()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def static_of():
    """Return a function that hands a folder out by Python's own file server: folder -> address."""
    servers = []

    def start(folder):
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def stated(name, page):
    """Value of a hidden field of a page's form."""
    found = re.search(rf'name="{name}" value="([^"]+)"', page)
    assert found is not None, page
    return found[1]


class Person:
    """Uses the site as a browser would: cookies, forms, redirects."""

    def __init__(self, app, token):
        self.client = app.test_client()
        self.answer = self.client.post("/admin/login", data={"token": token})

    def get(self, path):
        reply = self.client.get(f"/admin/{path}")
        assert reply.status_code == 200, (reply.status_code, reply.headers.get("Location"))
        return reply.text

    def csrf(self):
        return stated("csrf", self.get(""))

    def ask(self, channel, action, manifest, **more):
        """Press a button; its answer is the page that asks for a reason."""
        wanted = {"channel": channel, "action": action, "manifest": manifest} | more
        return self.client.get("/admin/confirm", query_string=wanted)

    def version(self, channel, action, manifest, **more):
        """Version of the state that the page after a button shows."""
        return stated("version", self.ask(channel, action, manifest, **more).text)

    def confirm(self, channel, action, manifest, version, reason="because", **more):
        """Send the form of the page that asks for a reason."""
        data = {"channel": channel, "action": action, "manifest": manifest, "version": version}
        data |= {"reason": reason, "csrf": self.csrf()} | more
        return self.client.post("/admin/actions", data=data)

    def press(self, channel, action, manifest, reason="because", **more):
        """Press a button, and confirm."""
        version = self.version(channel, action, manifest, **more)
        return self.confirm(channel, action, manifest, version, reason, **more)


@pytest.fixture
def log_in():
    """Return a function: app, text of a token -> Person who logged in with it."""
    return Person


@pytest.fixture
def make_app():
    """Return a function: repository, folder of keys or None -> app."""

    def make(repo, keys=None):
        return create_app(Settings(repo=repo, keys=keys, log_requests=False))

    return make


@pytest.fixture
def token_of():
    """Return a function: database, scope, name -> text of a new token, and the token."""

    def make(engine, scope="operate", name="alice"):
        return tokens.make(engine, name, scope, 5, int(time.time()))

    return make


@pytest.fixture
def two_releases(tiny_repo, tmp_path):
    """Manifests of `second` and `tiny` on stable."""
    write_tiny_bundle(tmp_path / "second", answers=True, name="second")
    publish(tmp_path / "second", tiny_repo, load_signers(tmp_path / "keys"), "stable", percent=20)
    return [stage.manifest for stage in read_policy(tiny_repo, "stable").releases]


@pytest.fixture
def alice(tiny_repo, two_releases, tmp_path, make_app, token_of, log_in):
    """An operator, on a server with the keys of stable."""
    app = make_app(tiny_repo, tmp_path / "keys")
    return log_in(app, token_of(open_database(default_url(tiny_repo)))[0])
