"""A publisher, a server that an attacker may own, and a phone; one file here is one attack.

The attacks are those that the documents of The Update Framework list (theupdateframework.io,
"Security"). The publisher and the phone are the real ones.
"""

import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pocketrec_edge.releases.store import Store
from pocketrec_edge.sync.client import SyncReport, sync
from pocketrec_edge.sync.http import PACE, Pace
from pocketrec_edge.sync.transfer import Retry
from pocketrec_server.repository import publish as repository
from pocketrec_server.repository import state
from pocketrec_server.repository.keys import Signers, load_signers, make_keys
from pocketrec_server.repository.state import State

AT_ONCE = Retry(sleep=lambda _: None)


class Handler(SimpleHTTPRequestHandler):
    """Hands out a folder, unless the attacker has another answer."""

    attacks: list[Callable[["Handler"], bool]]

    def __init__(self, *args, attacks, **kwargs) -> None:
        self.attacks = attacks
        super().__init__(*args, **kwargs)

    def do_GET(self) -> None:
        if not any(attack(self) for attack in self.attacks):
            super().do_GET()

    def log_message(self, *_) -> None:
        pass


class Forged(State):
    """Metadata that a thief signs: whatever keys they have, nothing is checked."""

    def signer(self, role: str, signers: Signers):
        return signers[role]

    def _signed_root(self, signers: Signers, now) -> bytes:
        self.before = None  # whose keys the thief does not have
        return super()._signed_root(signers, now)


@dataclass
class Site:
    """One repository with its server, and phones that trust its first root."""

    folder: Path
    url: str
    attacks: list[Callable[[Handler], bool]]
    releases: tuple[Path, ...]

    @property
    def repo(self) -> Path:
        return self.folder / "repo"

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    @property
    def signers(self) -> Signers:
        return load_signers(self.keys)

    def publish(self, release: int, channel: str = "stable", **options) -> None:
        repository.publish(self.releases[release], self.repo, self.signers, channel, **options)

    def sync(
        self, channel: str = "stable", home: str = "phone", pace: Pace = PACE, **options
    ) -> SyncReport:
        root = self.folder / "1.root.json"
        return sync(
            self.folder / home,
            self.url,
            lambda _: None,
            channel=channel,
            root_path=root,
            retry=AT_ONCE,
            pace=pace,
            **options,
        )

    def release_of(self, home: str = "phone") -> str | None:
        """Name of the release that a phone answers from, all its files verified."""
        bundle, _ = Store(self.folder / home / "store").open_active()
        return None if bundle is None else bundle.manifest.name

    def metadata(self, name: str) -> Path:
        return self.repo / "metadata" / name

    def noted(self) -> Path:
        """A copy of the repository as it is now."""
        number = len(list(self.folder.glob("noted*")))
        return Path(shutil.copytree(self.repo, self.folder / f"noted{number}"))

    def serve(self, copy: Path) -> None:
        """From now on the server hands out a copy that was noted."""
        shutil.rmtree(self.repo)
        shutil.copytree(copy, self.repo)

    def thief(self, *stolen: str) -> Signers:
        """Keys of their own for every role, but those that were stolen."""
        own = self.folder / "-".join(("thief", *stolen))
        make_keys(own)
        for name in stolen:
            shutil.copy(self.keys / f"{name}.pem", own)
        return load_signers(own)

    def forge(
        self, signers: Signers, change: Callable[[State], None], versions: int | None = None
    ) -> None:
        """Change the server's metadata and sign it with whatever keys there are.

        versions: of all that is changed and of the timestamp; by default the next ones.
        """
        found = state.load(self.repo)
        forged = Forged(found.root, None, found.timestamp, found.snapshot, found.targets)
        forged.versions = found.versions
        change(forged)
        if versions is not None:
            forged.versions = dict.fromkeys(forged.versions, versions - 1)
        forged.write(self.repo, signers)


@pytest.fixture
def site(named_releases, tmp_path):
    """Release 0 on all three channels; the phone has it from channel stable."""
    make_keys(tmp_path / "keys")
    attacks: list = []
    (tmp_path / "repo").mkdir()
    handler = partial(Handler, directory=tmp_path / "repo", attacks=attacks)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    made = Site(tmp_path, f"http://127.0.0.1:{server.server_port}", attacks, named_releases)
    repository.found_repository(made.repo, made.signers)
    for channel in ("stable", "beta", "canary"):
        made.publish(0, channel)
    shutil.copy(made.metadata("1.root.json"), tmp_path)
    made.sync()
    assert made.release_of() == "0"
    yield made
    server.shutdown()
    thread.join()
    server.server_close()
