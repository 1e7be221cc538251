"""A publisher that signs whatever a test wants, a real HTTP server over it, and a real client.

The cases are those of the specification's client workflow (5.3 to 5.7) that
theupdateframework/tuf-conformance covers too; `docs/server/security.md` lists those that
do not apply.
"""

import datetime as real
import json
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from securesystemslib.formats import encode_canonical
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer
from tuf.ngclient._internal import trusted_metadata_set

from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.sync.http import Network
from pocketrec_edge.sync.metadata import TrustedMetadata
from pocketrec_edge.sync.transfer import Retry, Transfer

TOP = ("root", "timestamp", "snapshot", "targets")
ONCE = Retry(tries=1)
TINY = JSONSerializer(compact=True)


class Publisher:
    """Metadata in memory; `files` is what the server hands out, by path."""

    def __init__(self):
        self.files, self.asked, self.missing = {}, [], 404
        self.signers = {role: [CryptoSigner.generate_ed25519()] for role in TOP}
        later = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
        self.root = Root(expires=later, consistent_snapshot=True)
        self.timestamp, self.snapshot = Timestamp(expires=later), Snapshot(expires=later)
        self.targets = {"targets": Targets(expires=later)}
        for role in TOP:
            self.root.add_key(self.signers[role][0].public_key, role)
        self.put_root(self.signers["root"])
        self.later = later
        for name in ("targets", "snapshot", "timestamp"):
            self.put(name, bump=False)

    def encode(self, signed, signers):
        metadata = Metadata(signed)
        for signer in signers:
            metadata.sign(signer, append=True)
        return metadata.to_bytes(TINY)

    def encode_value(self, value, role):
        """Sign a JSON value, of whatever form, with the keys of a role."""
        text = encode_canonical(value)
        assert text is not None
        signatures = [signer.sign(text.encode()).to_dict() for signer in self.signers[role]]
        return json.dumps({"signatures": signatures, "signed": value}).encode()

    def put_root(self, signers):
        self.files[f"metadata/{self.root.version}.root.json"] = self.encode(self.root, signers)

    def next_root(self, *signers):
        """Publish the next root, signed by these, else by the keys of root."""
        self.root.version += 1
        self.put_root(signers or self.signers["root"])

    def new_key(self, role, signer=None):
        """Give a top-level role another key instead of its own; `next_root` publishes it."""
        for old in self.signers[role]:
            self.root.revoke_key(old.public_key.keyid, role)
        self.signers[role] = [signer or CryptoSigner.generate_ed25519()]
        self.root.add_key(self.signers[role][0].public_key, role)

    def path_of(self, role):
        """Where the newest metadata of a role is."""
        if role == "timestamp":
            return "metadata/timestamp.json"
        signed = self.signed(role)
        name = role.replace("%", "%25")
        for character in "/ ?#\\é日":
            name = name.replace(character, "".join(f"%{b:02X}" for b in character.encode()))
        numbered = f"{signed.version}." if self.root.consistent_snapshot else ""
        return f"metadata/{numbered}{name}.json"

    def signed(self, role):
        """The newest metadata of a role."""
        top = {"root": self.root, "timestamp": self.timestamp, "snapshot": self.snapshot}
        return top.get(role) or self.targets[role]

    def put(self, role, *, bump=True, signers=None):
        """Sign a role's metadata and note it in what names it, which is not signed for that."""
        signed = self.signed(role)
        signed.version += bump
        data = self.encode(signed, self.signers[role] if signers is None else signers)
        self.files[self.path_of(role)] = data
        if role == "snapshot":
            self.timestamp.snapshot_meta = MetaFile.from_data(signed.version, data, ["sha256"])
        elif role != "timestamp":
            self.snapshot.meta[f"{role}.json"] = MetaFile.from_data(
                signed.version, data, ["sha256"]
            )
        return data

    def update(self, *roles):
        """Publish the next version of roles, the snapshot and the timestamp."""
        for role in (*roles, "snapshot", "timestamp"):
            self.put(role)

    def add_target(self, path, data, role="targets"):
        self.targets[role].targets[path] = TargetFile.from_data(path, data, ["sha256"])

    def delegate(self, parent, name, *, paths=("*",), terminating=False, prefixes=None):
        """Make a role that `parent` names, with a key of its own, and put it."""
        if name not in self.targets:
            self.targets[name] = Targets(expires=self.later)
            self.signers[name] = [CryptoSigner.generate_ed25519()]
        role = DelegatedRole(name, [], 1, terminating, None if prefixes else list(paths), prefixes)
        delegations = self.targets[parent].delegations or Delegations({}, {})
        assert delegations.roles is not None
        delegations.roles[name] = role
        self.targets[parent].delegations = delegations
        self.targets[parent].add_key(self.signers[name][0].public_key, name)


@dataclass
class Client:
    """A phone's metadata folder and its server."""

    home: Path
    url: str
    publisher: Publisher
    first: Path
    found: dict = field(default_factory=dict)

    def check(self, *paths, hours=0.0):
        """Check for news; look up targets, `hours` from now."""
        self.publisher.asked.clear()
        trusted = TrustedMetadata(PhoneHome(self.home), self.url, Transfer(ONCE, Network()))
        now = datetime.now(UTC).timestamp() + hours * 3600
        return trusted.check(self.first, lambda each: [each.find(path) for path in paths], now)

    def read(self, path, most=1000):
        """Check for news, then fetch a small target."""
        trusted = TrustedMetadata(PhoneHome(self.home), self.url, Transfer(ONCE, Network()))
        now = datetime.now(UTC).timestamp()
        return trusted.check(self.first, lambda each: each.read(path, most), now)

    def version(self, role):
        """Version that the phone trusts of a role; None: it has none."""
        if role == "root":
            history = self.home / "tuf" / "root_history"
            return max(int(path.name.split(".")[0]) for path in history.iterdir())
        path = self.home / "tuf" / f"{role}.json"
        return json.loads(path.read_bytes())["signed"]["version"] if path.exists() else None


@pytest.fixture
def publisher():
    return Publisher()


@pytest.fixture
def client(publisher, tmp_path):
    """A client that has the first root and asked for nothing yet."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.removeprefix("/")
            publisher.asked.append(name.removeprefix("metadata/"))
            data = publisher.files.get(name)
            self.send_response(publisher.missing if data is None else 200)
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    first = tmp_path / "pinned.json"
    first.write_bytes(publisher.files["metadata/1.root.json"])
    yield Client(tmp_path / "phone", f"http://127.0.0.1:{server.server_port}", publisher, first)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def phone_clock(monkeypatch):
    """Return a function that sets the clock by which metadata expires."""

    def shift(by):
        shifted = SimpleNamespace(now=lambda zone: datetime.now(zone) + by)
        module = SimpleNamespace(datetime=shifted, timezone=real.timezone)
        monkeypatch.setattr(trusted_metadata_set, "datetime", module)

    return shift
