"""What the publisher signed, proved by python-tuf from a pinned root; a check costs one request.

    home/tuf/root_history/N.root.json      the pinned root, and those that followed it
    home/tuf/ROLE.json                     the newest metadata that was trusted
    home/tuf/targets/<sha256>              small targets: policy, halts, manifests

A check asks for the timestamp, unless it is the one that is here. If so, and all that it names is
here, signed and not expired, nothing else is asked. Else python-tuf asks for all, root first.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from tuf.api.exceptions import DownloadError, DownloadHTTPError, RepositoryError
from tuf.api.metadata import TargetFile
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from edge_runtime.errors import SyncError
from edge_runtime.sync_transfer import METADATA, Transfer

T = TypeVar("T")


class Trusted:
    """The signed metadata of one server, as one device trusts it."""

    def __init__(self, home: Path, server_url: str, transfer: Transfer) -> None:
        """Name a device's folder and its server."""
        self._home, self._folder, self._transfer = home, home / "tuf", transfer
        self._url = server_url.rstrip("/")
        self._updater: Updater | None = None

    def check(self, root_path: Path | None, wanted: Callable[["Trusted"], T]) -> T:
        """Make sure that what is here is the newest, or bring it; returns what is `wanted` of it.

        Args:
            root_path: trusted root metadata, shipped with the app; used the first time only.
            wanted: looks up all that the caller needs; it is called again if that is not here.

        Raises:
            SyncError: there is no trusted root.
            DownloadError: the server cannot be reached.
            RepositoryError: what it sent is not to be trusted.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        root = self._root(root_path)
        if self._is_unchanged():
            with suppress(RepositoryError, DownloadError, OSError):
                self._updater = self._open(root, _Nothing(self._folder))
                return wanted(self)
        self._updater = self._open(root, self._transfer)
        self._updater.refresh()
        return wanted(self)

    def find(self, path: str) -> TargetFile | None:
        """Look a target up; None if its role signs no such path."""
        assert self._updater is not None, "check comes first"
        return self._updater.get_targetinfo(path)

    def read(self, path: str) -> bytes | None:
        """Bring a small target, proved by its signed size and hash; None if there is none."""
        target = self.find(path)
        if target is None:
            return None
        place = self._folder / "targets" / target.hashes["sha256"]
        with suppress(OSError, RepositoryError):
            data = place.read_bytes()
            target.verify_length_and_hashes(data)
            return data
        self._transfer.file(self.url(target), target, place, METADATA)
        return place.read_bytes()

    def url(self, target: TargetFile) -> str:
        """Where a target's bytes are (consistent snapshots)."""
        folder, _, name = target.path.rpartition("/")
        return f"{self._url}/targets/{folder}/{target.hashes['sha256']}.{name}"

    def _is_unchanged(self) -> bool:
        """Ask for the timestamp; whether it is the one that is here."""
        try:
            here = (self._folder / "timestamp.json").read_bytes()
        except OSError:
            return False
        etag = hashlib.sha256(here).hexdigest()
        got = self._transfer.unless(f"{self._url}/metadata/timestamp.json", etag)
        return got is None or got == here

    def _root(self, root_path: Path | None) -> bytes:
        """The newest root that is trusted."""

    def _open(self, root: bytes, fetcher: FetcherInterface) -> Updater:
        return Updater(
            str(self._folder),
            f"{self._url}/metadata/",
            fetcher=fetcher,
            config=UpdaterConfig(app_user_agent="pocketrec"),
            bootstrap=root,
        )


class _Nothing(FetcherInterface):
    """Answers as a server that has what is here and nothing newer; all else is unreachable."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _fetch(self, url: str) -> Iterator[bytes]:
        name = url.rpartition("/")[2]
        if name == "timestamp.json":
            return iter([(self._folder / name).read_bytes()])
        if name.endswith(".root.json"):
            raise DownloadHTTPError("none newer is asked for", 404)
        raise DownloadError(f"{name} is not here")
