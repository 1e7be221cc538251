"""What the publisher signed, proved by python-tuf from a pinned root; a check costs one request.

    home/tuf/root_history/N.root.json    the pinned root, and those that followed it
    home/tuf/ROLE.json                   the newest metadata that was trusted
    home/tuf/targets/<sha256>            small targets: policy, halts, manifest

A check asks for the timestamp, unless it is the one that is here (RFC 9110, "If-None-Match"). If it
is, and all that it names is here and not expired, no more is asked. Else python-tuf asks for all,
root first.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from tuf.api.exceptions import DownloadError, DownloadHTTPError, RepositoryError
from tuf.api.metadata import Metadata, Root, TargetFile
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from bundle.files import remove_file
from edge_runtime.errors import SyncError
from edge_runtime.sync_transfer import METADATA, Transfer

CONFIG = UpdaterConfig(app_user_agent="pocketrec", targets_max_length=2 << 20)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ROOT = re.compile(r"([1-9][0-9]{0,8})\.root\.json")

T = TypeVar("T")


class Trusted:
    """The signed metadata of one server, as one device trusts it."""

    def __init__(self, home: Path, server_url: str, transfer: Transfer) -> None:
        """Name a device's folder and its server."""
        self._home, self._folder, self._transfer = home, home / "tuf", transfer
        self._url = server_url.rstrip("/")
        self._updater: Updater | None = None
        self._used: set[str] = set()

    def check(self, root_path: Path | None, wanted: Callable[["Trusted"], T]) -> T:
        """Make sure that what is here is the newest, or bring it; returns what is `wanted` of it.

        Args:
            root_path: trusted root metadata, shipped with the app; used the first time only.
            wanted: looks up and reads all that the caller needs of it.

        Raises:
            SyncError: there is no trusted root, or what `wanted` raises.
            DownloadError: the server cannot be reached.
            RepositoryError: what it sent is not to be trusted.
            OSError: the device's folder cannot be read or written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        root = self._root(root_path)
        here = self._stored()
        sent = self._transfer.unless(
            f"{self._url}/metadata/timestamp.json", _etag(here), CONFIG.timestamp_max_length
        )
        if here is not None and sent in (None, here):
            with suppress(RepositoryError, DownloadError):
                return self._found(root, _Answers(here, None), wanted)
        return self._found(root, _Answers(sent, self._transfer), wanted)

    def find(self, path: str) -> TargetFile | None:
        """Look a target up; None if its role signs no such path, or not with its SHA-256."""
        assert self._updater is not None, "check comes first"
        target = self._updater.get_targetinfo(path)
        if target is None or not _SHA256.fullmatch(target.hashes.get("sha256", "")):
            return None  # the hash becomes part of a path
        return target

    def read(self, path: str, most_bytes: int) -> bytes | None:
        """Bring a small target, proved by its signed size and hash; None if there is none.

        Raises:
            RepositoryError: it is larger than `most_bytes`, or something else was sent.
        """
        target = self.find(path)
        if target is None:
            return None
        if target.length > most_bytes:
            raise RepositoryError(f"{path}: {target.length} bytes exceed {most_bytes}")
        sha256 = target.hashes["sha256"]
        self._used.add(sha256)
        place = self._folder / "targets" / sha256
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

    def forget_others(self) -> None:
        """Remove small targets that were not read this time."""
        with suppress(OSError):
            for path in (self._folder / "targets").iterdir():
                if path.name not in self._used:
                    remove_file(path)

    def _found(self, root: bytes, answers: "_Answers", wanted: Callable[["Trusted"], T]) -> T:
        self._updater = _Updater(
            str(self._folder),
            f"{self._url}/metadata/",
            fetcher=answers,
            config=CONFIG,
            bootstrap=root,
        )
        self._updater.refresh()
        return wanted(self)

    def _stored(self) -> bytes | None:
        try:
            return (self._folder / "timestamp.json").read_bytes()
        except OSError:
            return None

    def _root(self, root_path: Path | None) -> bytes:
        """The newest root that was trusted, or the app's; a torn file does not count."""
        history = self._folder / "root_history"
        names = [path.name for path in history.iterdir()] if history.is_dir() else []
        found = (_ROOT.fullmatch(name) for name in names)
        for version in sorted((int(match[1]) for match in found if match), reverse=True):
            data = (history / f"{version}.root.json").read_bytes()
            with suppress(RepositoryError):
                if isinstance(Metadata[Any].from_bytes(data).signed, Root):
                    return data
        if root_path is None:
            raise SyncError(
                f"{self._home}: no trusted root yet. Give the root that came with the app: "
                "--root 1.root.json"
            )
        return root_path.read_bytes()


class _Updater(Updater):
    """python-tuf's client; the roots that it trusts lie in `root_history` only."""

    def _update_root_symlink(self) -> None:
        """Make no link `root.json`: nothing reads it, and Windows and FAT may refuse links."""


class _Answers(FetcherInterface):
    """Hands python-tuf the timestamp that was asked for already, and asks for the rest.

    Without a transfer it answers as a server would that has nothing newer.
    """

    def __init__(self, timestamp: bytes | None, transfer: Transfer | None) -> None:
        self._timestamp, self._transfer = timestamp, transfer

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """Fetch metadata; python-tuf asks so for all of it."""
        name = url.rpartition("/")[2]
        if name == "timestamp.json" and self._timestamp is not None:
            return self._timestamp
        if self._transfer is not None:
            return self._transfer.download_bytes(url, max_length)
        if _ROOT.fullmatch(name):
            raise DownloadHTTPError("none newer is asked for", 404)
        raise DownloadError(f"{name} is not here")

    def _fetch(self, url: str) -> Iterator[bytes]:
        raise NotImplementedError(url)


def _etag(data: bytes | None) -> str | None:
    return None if data is None else hashlib.sha256(data).hexdigest()
