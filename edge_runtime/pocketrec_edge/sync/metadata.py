"""The publisher's signed metadata, verified by python-tuf from a pinned root.

A check without news costs one request.

    home/tuf/root_history/N.root.json    the pinned root and its successors
    home/tuf/root_asked.json             when the server was last asked for a newer root
    home/tuf/ROLE.json                   the newest metadata that was trusted
    home/tuf/targets/<sha256>            small targets: policy, halts, manifest

The order of requests is that of the TUF specification, 5.3 to 5.7: roots, timestamp, snapshot,
targets. A check departs from it within `ROOT_EVERY_S` of the last question for a newer root: it
asks for the timestamp first, with its ETag (RFC 9110, "If-None-Match"). If that is unchanged, and
all that it names is here, signed and not expired, nothing else is asked for. Otherwise the check
goes on in the order of the specification, `docs/decisions/0021-root-once-a-day.md`.
"""

import hashlib
import json
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tuf.api.exceptions import DownloadError, RepositoryError

from pocketrec_bundle.disk.files import canonical_json, remove_file
from pocketrec_bundle.errors import PocketRecError
from pocketrec_edge.errors import SyncError
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.private_files import make_folder, write_private
from pocketrec_edge.sync.transfer import METADATA, Transfer

if TYPE_CHECKING:
    from tuf.api.metadata import TargetFile
    from tuf.ngclient import FetcherInterface, Updater

ROOT_EVERY_S = 86_400
"""Maximum time between two requests for a newer root."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ASKED = "root_asked.json"
_OTHER_SPECIFICATION = re.compile(r"Unsupported spec_version ([0-9.]{1,20})")

T = TypeVar("T")


class TrustedMetadata:
    """The signed metadata of one server that this device trusts."""

    def __init__(self, home: PhoneHome, server_url: str, transfer: Transfer) -> None:
        """Set the device's folder and server."""
        self._home, self._folder, self._transfer = home, home.trusted_metadata, transfer
        self._url = server_url.rstrip("/")
        self._updater: Updater | None = None
        self._used: set[str] = set()

    def check(
        self, root_path: Path | None, wanted: Callable[["TrustedMetadata"], T], now_utc: float
    ) -> T:
        """Fetch newer metadata if there is any; return the result of `wanted`.

        Args:
            root_path: trusted root metadata, shipped with the app; used by the first check only.
            wanted: called with this object; reads everything that the caller needs.
            now_utc: unix seconds; decides whether to ask for a newer root.

        Raises:
            SyncError: the phone has no trusted root, or `wanted` raises it.
            DownloadError: the server cannot be reached.
            RepositoryError: the metadata fails its checks.
            OSError: the device's folder cannot be read or written.
        """
        from pocketrec_edge.sync.tuf_client import LocalFetcher, ServerFetcher

        for name in ("root_history", "targets"):  # python-tuf would make them for all to read
            make_folder(self._folder / name)
        root, here = self._root(root_path), self._stored()
        server = ServerFetcher(self._transfer, f"{self._url}/metadata/timestamp.json", here)
        if here is not None and self._was_asked(root, now_utc) and server.timestamp() == here:
            with suppress(RepositoryError, DownloadError):
                return self._found(root, LocalFetcher(here), wanted)
            server.ask_again()
        try:
            return self._found(root, server, wanted)
        finally:
            if server.has_no_newer_root:
                self._note_asked(now_utc)

    def find(self, path: str) -> "TargetFile | None":
        """Look up a target; None if its role does not sign the path, or lacks its SHA-256."""
        assert self._updater is not None, "check comes first"
        target = self._updater.get_targetinfo(path)
        if target is None or not _SHA256.fullmatch(target.hashes.get("sha256", "")):
            return None  # the hash becomes part of a path
        return target

    def read(self, path: str, most_bytes: int) -> bytes | None:
        """Return a small target, checked against its signature; None if it is not signed.

        Raises:
            RepositoryError: it is larger than `most_bytes`, or differs from its hash.
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

    def url(self, target: "TargetFile") -> str:
        """Return the URL of a target (consistent snapshots)."""
        folder, _, name = target.path.rpartition("/")
        return f"{self._url}/targets/{folder}/{target.hashes['sha256']}.{name}"

    def forget_others(self) -> None:
        """Remove small targets that this sync did not read."""
        with suppress(OSError):
            for path in (self._folder / "targets").iterdir():
                if path.name not in self._used:
                    remove_file(path)

    def _found(
        self, root: bytes, fetcher: "FetcherInterface", wanted: Callable[["TrustedMetadata"], T]
    ) -> T:
        from pocketrec_edge.sync.tuf_client import CONFIG, Client

        self._updater = Client(
            str(self._folder),
            f"{self._url}/metadata/",
            fetcher=fetcher,
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

    def _was_asked(self, root: bytes, now_utc: float) -> bool:
        """Whether the server was asked for a newer root within `ROOT_EVERY_S`."""
        try:
            value = json.loads((self._folder / _ASKED).read_bytes())
            age_s = now_utc - value["asked_utc"]
            return bool(value["root"] == _sha256(root) and 0 <= age_s < ROOT_EVERY_S)
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return False

    def _note_asked(self, now_utc: float) -> None:
        value = {"root": _sha256(self._root(None)), "asked_utc": int(now_utc)}
        with suppress(PocketRecError):  # the next check asks again
            write_private(self._folder / _ASKED, canonical_json(value))

    def _root(self, root_path: Path | None) -> bytes:
        """Return the newest trusted root, or the app's; incomplete files are skipped."""
        from pocketrec_edge.sync.tuf_client import ROOT_NAME, is_root

        history = self._folder / "root_history"
        names = [path.name for path in history.iterdir()] if history.is_dir() else []
        found = (ROOT_NAME.fullmatch(name) for name in names)
        for version in sorted((int(match[1]) for match in found if match), reverse=True):
            data = (history / f"{version}.root.json").read_bytes()
            if is_root(data):
                return data
        if root_path is None:
            raise SyncError(
                f"{self._home}: no trusted root yet. Give the root that ships with the app: "
                "--root 1.root.json"
            )
        return root_path.read_bytes()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def newer_specification(err: BaseException | None) -> str | None:
    """Return the specification version that python-tuf refused; None for another error.

    The version is checked before signatures, so it is not authenticated.
    """
    while err is not None:
        if found := _OTHER_SPECIFICATION.fullmatch(str(err)):
            return found[1]
        err = err.__cause__
    return None
